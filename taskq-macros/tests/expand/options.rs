#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
#[cfg(unix)]
#[deprecated]
#[inline]
pub(crate) fn send_email(
    ctx: taskq::Context,
    mut message: Email,
    State(mailer): State<Mailer>,
    r#type: Option<u8>,
    _clock: Clock,
) -> Result<Receipt, SendError> {
    mailer.send(message)
}
#[cfg(unix)]
#[deprecated]
/// Names the task `send_email`.
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
pub(crate) enum send_email {}
#[cfg(unix)]
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
    use my_crate::taskq::__private as __taskq;
    use __taskq::{AnySchema as _, PlainReturn as _};
    const __TASKQ_FALLIBLE: ::core::primitive::bool = __taskq::ReturnProbe::<
        Result<Receipt, SendError>,
    >::FALLIBLE;
    #[automatically_derived]
    impl my_crate::taskq::Task for send_email {
        const NAME: &'static ::core::primitive::str = "mail.send";
        const PARAMS: &'static [&'static ::core::primitive::str] = &["message", "type"];
        const OPTIONS: __taskq::TaskOptions = __taskq::TaskOptions::new()
            .queue("email")
            .retries(5u32)
            .backoff(
                __taskq::Backoff::exponential(__taskq::Duration::new(1u64, 0u32))
                    .max(__taskq::Duration::new(300u64, 0u32))
                    .without_jitter(),
            )
            .timeout(__taskq::Duration::new(30u64, 0u32))
            .deadline(__taskq::Duration::new(600u64, 0u32))
            .priority(__taskq::Priority::High)
            .unique(__taskq::Unique::For(__taskq::Duration::new(3600u64, 0u32)))
            .ttl(__taskq::Duration::new(1u64, 500000000u32));
        const SCHEMA: __taskq::TaskSchema = __taskq::TaskSchema {
            params: ::core::option::Option::Some(
                &[
                    __taskq::ParamSchema {
                        name: "message",
                        doc: "",
                        sensitive: false,
                        is_optional: <Email as __taskq::Argument>::is_optional,
                        schema: __taskq::SchemaProbe::<Email>::SCHEMA,
                    },
                    __taskq::ParamSchema {
                        name: "type",
                        doc: "",
                        sensitive: false,
                        is_optional: <Option<u8> as __taskq::Argument>::is_optional,
                        schema: __taskq::SchemaProbe::<Option<u8>>::SCHEMA,
                    },
                ],
            ),
            result: __taskq::SchemaProbe::<
                <Result<
                    Receipt,
                    SendError,
                > as __taskq::TaskReturn<__TASKQ_FALLIBLE>>::Output,
            >::SCHEMA,
        };
        const REGISTRATION: ::core::option::Option<&'static __taskq::Registration> = my_crate::taskq::__registration!(
            __TASKQ_REGISTRATION
        );
        type Args = (Email, Option<u8>);
        type Output = <Result<
            Receipt,
            SendError,
        > as __taskq::TaskReturn<__TASKQ_FALLIBLE>>::Output;
        fn encode(
            args: Self::Args,
        ) -> ::core::result::Result<__taskq::Arguments, __taskq::Error> {
            let (arg0, arg1) = args;
            let mut arguments = __taskq::Arguments::named(2usize);
            <Email as __taskq::Argument>::encode(&arg0, &mut arguments, "message")?;
            <Option<u8> as __taskq::Argument>::encode(&arg1, &mut arguments, "type")?;
            ::core::result::Result::Ok(arguments)
        }
    }
    #[automatically_derived]
    impl send_email {
        /// The name of the task on the wire.
        pub const NAME: &'static ::core::primitive::str = <Self as my_crate::taskq::Task>::NAME;
        /// A call of the task `mail.send` with these arguments, not yet sent: set what differs from the task's defaults, then `.enqueue(&client)`.
        pub fn call(message: Email, r#type: Option<u8>) -> __taskq::Call<Self> {
            __taskq::Call::<Self>::new((message, r#type))
        }
        /// Sends a call of the task `mail.send` with these arguments and the task's defaults.
        pub fn enqueue<'a>(
            client: &'a __taskq::Client,
            message: Email,
            r#type: Option<u8>,
        ) -> __taskq::Enqueue<'a, <Self as my_crate::taskq::Task>::Output> {
            Self::call(message, r#type).enqueue(client)
        }
    }
    fn __taskq_run(
        invocation: __taskq::Invocation,
    ) -> ::core::result::Result<__taskq::Job, __taskq::TaskError> {
        let mut bound = __taskq::Bound::new(
            &invocation,
            <send_email as my_crate::taskq::Task>::PARAMS,
        )?;
        let arg1 = <Email as __taskq::Argument>::decode(&mut bound, 0usize)?;
        let arg3 = <Option<u8> as __taskq::Argument>::decode(&mut bound, 1usize)?;
        let arg0 = <taskq::Context as __taskq::Inject>::inject(&invocation)?;
        let arg2 = <State<Mailer> as __taskq::Inject>::inject(&invocation)?;
        let arg4 = <Clock as __taskq::Inject>::inject(&invocation)?;
        ::core::result::Result::Ok(
            __taskq::Job::blocking(move || <Result<
                Receipt,
                SendError,
            > as __taskq::Finish<
                __TASKQ_FALLIBLE,
            >>::finish(send_email(arg0, arg1, arg2, arg3, arg4))),
        )
    }
    const __TASKQ_RETRY_IF: fn(&__taskq::TaskError) -> ::core::primitive::bool = errors::is_transient;
    const __TASKQ_REGISTRATION: __taskq::Registration = __taskq::Registration {
        name: <send_email as my_crate::taskq::Task>::NAME,
        params: &[
            __taskq::Param {
                name: "message",
                ty: "Email",
            },
            __taskq::Param {
                name: "type",
                ty: "Option<u8>",
            },
        ],
        output: "Result<Receipt, SendError>",
        options: <send_email as my_crate::taskq::Task>::OPTIONS,
        schema: <send_email as my_crate::taskq::Task>::SCHEMA,
        needs: &[
            <taskq::Context as __taskq::Inject>::NEEDS,
            <State<Mailer> as __taskq::Inject>::NEEDS,
            <Clock as __taskq::Inject>::NEEDS,
        ],
        file: ::core::file!(),
        line: ::core::line!(),
        module: ::core::module_path!(),
        blocking: true,
        doc: "",
        schedule: ::core::option::Option::None,
        retry_if: ::core::option::Option::Some(__TASKQ_RETRY_IF),
        run: __taskq_run,
    };
    my_crate::taskq::__register_task!(__TASKQ_REGISTRATION);
};
