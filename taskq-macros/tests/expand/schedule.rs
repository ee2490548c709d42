#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn report(ctx: Context, db: State<Db>) {
    todo!()
}
/// Names the task `report`.
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
enum report {}
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
        (),
    >::FALLIBLE;
    #[automatically_derived]
    impl ::taskq::Task for report {
        const NAME: &'static ::core::primitive::str = "report";
        const PARAMS: &'static [&'static ::core::primitive::str] = &[];
        const OPTIONS: __taskq::TaskOptions = __taskq::TaskOptions::new();
        const SCHEMA: __taskq::TaskSchema = __taskq::TaskSchema {
            params: ::core::option::Option::Some(&[]),
            result: __taskq::SchemaProbe::<
                <() as __taskq::TaskReturn<__TASKQ_FALLIBLE>>::Output,
            >::SCHEMA,
        };
        const REGISTRATION: ::core::option::Option<&'static __taskq::Registration> = ::taskq::__registration!(
            __TASKQ_REGISTRATION
        );
        type Args = ();
        type Output = <() as __taskq::TaskReturn<__TASKQ_FALLIBLE>>::Output;
        fn encode(
            args: Self::Args,
        ) -> ::core::result::Result<__taskq::Arguments, __taskq::Error> {
            let () = args;
            let arguments = __taskq::Arguments::named(0usize);
            ::core::result::Result::Ok(arguments)
        }
    }
    #[automatically_derived]
    impl report {
        /// The name of the task on the wire.
        pub const NAME: &'static ::core::primitive::str = <Self as ::taskq::Task>::NAME;
        /// A call of the task `report` with these arguments, not yet sent: set what differs from the task's defaults, then `.enqueue(&client)`.
        pub fn call() -> __taskq::Call<Self> {
            __taskq::Call::<Self>::new(())
        }
        /// Sends a call of the task `report` with these arguments and the task's defaults.
        pub fn enqueue<'a>(
            client: &'a __taskq::Client,
        ) -> __taskq::Enqueue<'a, <Self as ::taskq::Task>::Output> {
            Self::call().enqueue(client)
        }
    }
    fn __taskq_run(
        invocation: __taskq::Invocation,
    ) -> ::core::result::Result<__taskq::Job, __taskq::TaskError> {
        let bound = __taskq::Bound::new(&invocation, <report as ::taskq::Task>::PARAMS)?;
        let arg0 = <Context as __taskq::Inject>::inject(&invocation)?;
        let arg1 = <State<Db> as __taskq::Inject>::inject(&invocation)?;
        ::core::result::Result::Ok(
            __taskq::Job::future(
                report(arg0, arg1),
                <() as __taskq::Finish<__TASKQ_FALLIBLE>>::finish,
            ),
        )
    }
    const __TASKQ_REGISTRATION: __taskq::Registration = __taskq::Registration {
        name: <report as ::taskq::Task>::NAME,
        params: &[],
        output: "()",
        options: <report as ::taskq::Task>::OPTIONS,
        schema: <report as ::taskq::Task>::SCHEMA,
        needs: &[
            <Context as __taskq::Inject>::NEEDS,
            <State<Db> as __taskq::Inject>::NEEDS,
        ],
        file: ::core::file!(),
        line: ::core::line!(),
        module: ::core::module_path!(),
        blocking: false,
        doc: "",
        schedule: ::core::option::Option::Some(
            __taskq::Declaration::new("0 9 * * MON-FRI")
                .tz("Europe/Berlin")
                .overlap(__taskq::Overlap::QueueOne)
                .misfire(__taskq::Misfire::All(__taskq::Duration::new(600u64, 0u32)))
                .misfire_after(__taskq::Duration::new(300u64, 0u32))
                .jitter(__taskq::Duration::new(30u64, 0u32)),
        ),
        retry_if: ::core::option::Option::None,
        run: __taskq_run,
    };
    ::taskq::__register_task!(__TASKQ_REGISTRATION);
};
