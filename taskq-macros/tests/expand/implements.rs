#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn resize(url: String, db: State<Db>, width: u32) -> Result<Thumb, TaskError> {
    todo!()
}
/// Names the task `resize`.
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
enum resize {}
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
    fn __taskq_same_signature(
        args: <contracts::resize as ::taskq::Task>::Args,
        result: <contracts::resize as ::taskq::Task>::Output,
    ) {
        let (arg0, arg1) = args;
        __taskq::Declared::of(arg0).same_as::<String>();
        __taskq::Declared::of(arg1).same_as::<u32>();
        __taskq::Declared::of(result)
            .same_as::<
                <Result<
                    Thumb,
                    TaskError,
                > as __taskq::TaskReturn<__TASKQ_FALLIBLE>>::Output,
            >();
    }
    const fn __taskq_param(
        place: ::core::primitive::usize,
        own: &'static ::core::primitive::str,
    ) -> &'static ::core::primitive::str {
        let params = <contracts::resize as ::taskq::Task>::PARAMS;
        if place < params.len() { params[place] } else { own }
    }
    #[automatically_derived]
    impl ::taskq::Task for resize {
        const NAME: &'static ::core::primitive::str = <contracts::resize as ::taskq::Task>::NAME;
        const PARAMS: &'static [&'static ::core::primitive::str] = <contracts::resize as ::taskq::Task>::PARAMS;
        const OPTIONS: __taskq::TaskOptions = <contracts::resize as ::taskq::Task>::OPTIONS;
        const SCHEMA: __taskq::TaskSchema = <contracts::resize as ::taskq::Task>::SCHEMA;
        const REGISTRATION: ::core::option::Option<&'static __taskq::Registration> = ::taskq::__registration!(
            __TASKQ_REGISTRATION
        );
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
            <String as __taskq::Argument>::encode(
                &arg0,
                &mut arguments,
                __taskq_param(0usize, "url"),
            )?;
            <u32 as __taskq::Argument>::encode(
                &arg1,
                &mut arguments,
                __taskq_param(1usize, "width"),
            )?;
            ::core::result::Result::Ok(arguments)
        }
    }
    #[automatically_derived]
    impl resize {
        /// The name of the task on the wire.
        pub const NAME: &'static ::core::primitive::str = <Self as ::taskq::Task>::NAME;
        /// A call of the task `resize` with these arguments, not yet sent: set what differs from the task's defaults, then `.enqueue(&client)`.
        pub fn call(
            url: impl ::core::convert::Into<String>,
            width: u32,
        ) -> __taskq::Call<Self> {
            __taskq::Call::<
                Self,
            >::new((::core::convert::Into::<String>::into(url), width))
        }
        /// Sends a call of the task `resize` with these arguments and the task's defaults.
        pub fn enqueue<'a>(
            client: &'a __taskq::Client,
            url: impl ::core::convert::Into<String>,
            width: u32,
        ) -> __taskq::Enqueue<'a, <Self as ::taskq::Task>::Output> {
            Self::call(url, width).enqueue(client)
        }
    }
    fn __taskq_run(
        invocation: __taskq::Invocation,
    ) -> ::core::result::Result<__taskq::Job, __taskq::TaskError> {
        let mut bound = __taskq::Bound::new(
            &invocation,
            <resize as ::taskq::Task>::PARAMS,
        )?;
        let arg0 = <String as __taskq::Argument>::decode(&mut bound, 0usize)?;
        let arg2 = <u32 as __taskq::Argument>::decode(&mut bound, 1usize)?;
        let arg1 = <State<Db> as __taskq::Inject>::inject(&invocation)?;
        ::core::result::Result::Ok(
            __taskq::Job::future(
                resize(arg0, arg1, arg2),
                <Result<Thumb, TaskError> as __taskq::Finish<__TASKQ_FALLIBLE>>::finish,
            ),
        )
    }
    const __TASKQ_RETRY_IF: fn(&__taskq::TaskError) -> ::core::primitive::bool = is_transient;
    const __TASKQ_REGISTRATION: __taskq::Registration = __taskq::Registration {
        name: <resize as ::taskq::Task>::NAME,
        params: &[
            __taskq::Param {
                name: __taskq_param(0usize, "url"),
                ty: "String",
            },
            __taskq::Param {
                name: __taskq_param(1usize, "width"),
                ty: "u32",
            },
        ],
        output: "Result<Thumb, TaskError>",
        options: <resize as ::taskq::Task>::OPTIONS,
        schema: <resize as ::taskq::Task>::SCHEMA,
        needs: &[<State<Db> as __taskq::Inject>::NEEDS],
        file: ::core::file!(),
        line: ::core::line!(),
        module: ::core::module_path!(),
        blocking: false,
        doc: "",
        schedule: ::core::option::Option::None,
        retry_if: ::core::option::Option::Some(__TASKQ_RETRY_IF),
        run: __taskq_run,
    };
};
