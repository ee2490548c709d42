//! The subjects of JetStream's interface, and of services.

pub(crate) const INFO: &str = "$JS.API.INFO";
pub(crate) const STREAM_NAMES: &str = "$JS.API.STREAM.NAMES";
pub(crate) const STREAM_LIST: &str = "$JS.API.STREAM.LIST";

pub(crate) fn stream_info(stream: &str) -> String {
    format!("$JS.API.STREAM.INFO.{stream}")
}

pub(crate) fn stream_create(stream: &str) -> String {
    format!("$JS.API.STREAM.CREATE.{stream}")
}

pub(crate) fn stream_update(stream: &str) -> String {
    format!("$JS.API.STREAM.UPDATE.{stream}")
}

pub(crate) fn message_get(stream: &str) -> String {
    format!("$JS.API.STREAM.MSG.GET.{stream}")
}

pub(crate) fn message_delete(stream: &str) -> String {
    format!("$JS.API.STREAM.MSG.DELETE.{stream}")
}

pub(crate) fn consumer_list(stream: &str) -> String {
    format!("$JS.API.CONSUMER.LIST.{stream}")
}

pub(crate) fn consumer_info(stream: &str, consumer: &str) -> String {
    format!("$JS.API.CONSUMER.INFO.{stream}.{consumer}")
}

/// To let a consumer give nothing for a while.
pub(crate) fn consumer_pause(stream: &str, consumer: &str) -> String {
    format!("$JS.API.CONSUMER.PAUSE.{stream}.{consumer}")
}

/// Creates and updates.
pub(crate) fn consumer_create(stream: &str, consumer: &str, filter: &str) -> String {
    format!("$JS.API.CONSUMER.CREATE.{stream}.{consumer}.{filter}")
}

/// Whether whoever publishes there awaits an answer.
pub(crate) fn is_asked(subject: &str) -> bool {
    subject.starts_with("$SRV.")
        || subject.starts_with("$JS.API.") && !subject.starts_with("$JS.API.CONSUMER.MSG.NEXT.")
}

pub(crate) fn consumer_next(stream: &str, consumer: &str) -> String {
    format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}")
}

pub(crate) fn stream_purge(stream: &str) -> String {
    format!("$JS.API.STREAM.PURGE.{stream}")
}

/// To create a consumer of a stream, one without a name or any other.
pub(crate) fn consumers_create(stream: &str) -> [String; 2] {
    [
        format!("$JS.API.CONSUMER.CREATE.{stream}"),
        format!("$JS.API.CONSUMER.CREATE.{stream}.>"),
    ]
}

/// Gets stored messages in batches, without a consumer.
pub(crate) fn direct_get(stream: &str) -> String {
    format!("$JS.API.DIRECT.GET.{stream}")
}

pub(crate) fn consumer_delete(stream: &str, consumer: &str) -> String {
    format!("$JS.API.CONSUMER.DELETE.{stream}.{consumer}")
}

/// The stream of an object store, and its subjects: chunks and what they
/// are of.
pub(crate) fn object_store(bucket: &str) -> (String, [String; 2]) {
    (
        format!("OBJ_{bucket}"),
        [format!("$O.{bucket}.C.>"), format!("$O.{bucket}.M.>")],
    )
}

/// All that reading and writing an object store uses.
pub(crate) fn of_object_store(bucket: &str) -> [String; 7] {
    let (stream, [chunks, objects]) = object_store(bucket);
    let [nameless, named] = consumers_create(&stream);
    [
        chunks,
        objects,
        stream_info(&stream),
        stream_purge(&stream),
        format!("{}.>", direct_get(&stream)),
        nameless,
        named,
    ]
}

/// Where services of a name are asked to describe themselves.
pub(crate) fn service_info(name: &str) -> String {
    format!("$SRV.INFO.{name}")
}

/// Where services of a name are asked for their numbers.
pub(crate) fn service_stats(name: &str) -> String {
    format!("$SRV.STATS.{name}")
}
