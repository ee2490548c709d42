/// Makes a thumbnail.
#[allow(
    non_camel_case_types,
    missing_debug_implementations,
    missing_copy_implementations,
    unreachable_pub,
    dead_code,
    clippy::all,
    clippy::pedantic,
    clippy::nursery
)]
pub enum resize {}
#[doc(hidden)]
#[allow(
    deprecated,
    dead_code,
    unreachable_pub,
    unused_imports,
    unused_qualifications,
    nonstandard_style,
    private_interfaces,
    clippy::all,
    clippy::pedantic,
    clippy::nursery
)]
const _: () = {
    use ::taskq::__private as __taskq;
    use __taskq::{AnySchema as _, PlainReturn as _};
    const __TASKQ_FALLIBLE: ::core::primitive::bool = __taskq::ReturnProbe::<
        Result<Thumb, TaskError>,
    >::FALLIBLE;
    #[automatically_derived]
    impl ::taskq::Task for resize {
        const NAME: &'static ::core::primitive::str = "images.resize";
        const PARAMS: &'static [&'static ::core::primitive::str] = &["url", "width"];
        const OPTIONS: __taskq::TaskOptions = __taskq::TaskOptions::new()
            .queue("cpu")
            .unique(__taskq::Unique::UntilDone);
        const SCHEMA: __taskq::TaskSchema = __taskq::TaskSchema {
            params: ::core::option::Option::Some(
                &[
                    __taskq::ParamSchema {
                        name: "url",
                        doc: "",
                        sensitive: false,
                        is_optional: <String as __taskq::Argument>::is_optional,
                        schema: __taskq::SchemaProbe::<String>::SCHEMA,
                    },
                    __taskq::ParamSchema {
                        name: "width",
                        doc: "",
                        sensitive: false,
                        is_optional: <u32 as __taskq::Argument>::is_optional,
                        schema: __taskq::SchemaProbe::<u32>::SCHEMA,
                    },
                ],
            ),
            result: __taskq::SchemaProbe::<
                <Result<
                    Thumb,
                    TaskError,
                > as __taskq::TaskReturn<__TASKQ_FALLIBLE>>::Output,
            >::SCHEMA,
        };
        type Args = (String, u32);
        type Output = <Result<
            Thumb,
            TaskError,
        > as __taskq::TaskReturn<__TASKQ_FALLIBLE>>::Output;
        fn encode(
            args: Self::Args,
        ) -> ::core::result::Result<__taskq::Arguments, __taskq::Error> {
            let (arg0, arg1) = args;
            let mut arguments = __taskq::Arguments::named(2usize);
            <String as __taskq::Argument>::encode(&arg0, &mut arguments, "url")?;
            <u32 as __taskq::Argument>::encode(&arg1, &mut arguments, "width")?;
            ::core::result::Result::Ok(arguments)
        }
    }
    #[automatically_derived]
    impl resize {
        /// The name of the task on the wire.
        pub const NAME: &'static ::core::primitive::str = <Self as ::taskq::Task>::NAME;
        /// A call of the task `images.resize` with these arguments, not yet sent: set what differs from the task's defaults, then `.enqueue(&client)`.
        pub fn call(
            url: impl ::core::convert::Into<String>,
            width: u32,
        ) -> __taskq::Call<Self> {
            __taskq::Call::<
                Self,
            >::new((::core::convert::Into::<String>::into(url), width))
        }
        /// Sends a call of the task `images.resize` with these arguments and the task's defaults.
        pub fn enqueue<'a>(
            client: &'a __taskq::Client,
            url: impl ::core::convert::Into<String>,
            width: u32,
        ) -> __taskq::Enqueue<'a, <Self as ::taskq::Task>::Output> {
            Self::call(url, width).enqueue(client)
        }
    }
};
