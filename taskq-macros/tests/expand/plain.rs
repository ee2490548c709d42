#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
/// Converts a string to uppercase.
pub async fn to_uppercase(text: String) -> String {
    text.to_uppercase()
}
/// Converts a string to uppercase.
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
pub enum to_uppercase {}
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
        String,
    >::FALLIBLE;
    #[automatically_derived]
    impl ::taskq::Task for to_uppercase {
        const NAME: &'static ::core::primitive::str = "to_uppercase";
        const PARAMS: &'static [&'static ::core::primitive::str] = &["text"];
        const OPTIONS: __taskq::TaskOptions = __taskq::TaskOptions::new();
        const SCHEMA: __taskq::TaskSchema = __taskq::TaskSchema {
            params: ::core::option::Option::Some(
                &[
                    __taskq::ParamSchema {
                        name: "text",
                        doc: "",
                        sensitive: false,
                        is_optional: <String as __taskq::Argument>::is_optional,
                        schema: __taskq::SchemaProbe::<String>::SCHEMA,
                    },
                ],
            ),
            result: __taskq::SchemaProbe::<
                <String as __taskq::TaskReturn<__TASKQ_FALLIBLE>>::Output,
            >::SCHEMA,
        };
        const REGISTRATION: ::core::option::Option<&'static __taskq::Registration> = ::taskq::__registration!(
            __TASKQ_REGISTRATION
        );
        type Args = (String,);
        type Output = <String as __taskq::TaskReturn<__TASKQ_FALLIBLE>>::Output;
        fn encode(
            args: Self::Args,
        ) -> ::core::result::Result<__taskq::Arguments, __taskq::Error> {
            let (arg0,) = args;
            let mut arguments = __taskq::Arguments::named(1usize);
            <String as __taskq::Argument>::encode(&arg0, &mut arguments, "text")?;
            ::core::result::Result::Ok(arguments)
        }
    }
    #[automatically_derived]
    impl to_uppercase {
        /// The name of the task on the wire.
        pub const NAME: &'static ::core::primitive::str = <Self as ::taskq::Task>::NAME;
        /// A call of the task `to_uppercase` with these arguments, not yet sent: set what differs from the task's defaults, then `.enqueue(&client)`.
        pub fn call(text: impl ::core::convert::Into<String>) -> __taskq::Call<Self> {
            __taskq::Call::<Self>::new((::core::convert::Into::<String>::into(text),))
        }
        /// Sends a call of the task `to_uppercase` with these arguments and the task's defaults.
        pub fn enqueue<'a>(
            client: &'a __taskq::Client,
            text: impl ::core::convert::Into<String>,
        ) -> __taskq::Enqueue<'a, <Self as ::taskq::Task>::Output> {
            Self::call(text).enqueue(client)
        }
    }
    fn __taskq_run(
        invocation: __taskq::Invocation,
    ) -> ::core::result::Result<__taskq::Job, __taskq::TaskError> {
        let mut bound = __taskq::Bound::new(
            &invocation,
            <to_uppercase as ::taskq::Task>::PARAMS,
        )?;
        let arg0 = <String as __taskq::Argument>::decode(&mut bound, 0usize)?;
        ::core::result::Result::Ok(
            __taskq::Job::future(
                to_uppercase(arg0),
                <String as __taskq::Finish<__TASKQ_FALLIBLE>>::finish,
            ),
        )
    }
    const __TASKQ_REGISTRATION: __taskq::Registration = __taskq::Registration {
        name: <to_uppercase as ::taskq::Task>::NAME,
        params: &[
            __taskq::Param {
                name: "text",
                ty: "String",
            },
        ],
        output: "String",
        options: <to_uppercase as ::taskq::Task>::OPTIONS,
        schema: <to_uppercase as ::taskq::Task>::SCHEMA,
        needs: &[],
        file: ::core::file!(),
        line: ::core::line!(),
        module: ::core::module_path!(),
        blocking: false,
        doc: "Converts a string to uppercase.",
        schedule: ::core::option::Option::None,
        retry_if: ::core::option::Option::None,
        run: __taskq_run,
    };
    ::taskq::__register_task!(__TASKQ_REGISTRATION);
};
