use taskq::prelude::*;

#[task(per = "card")]
async fn keyed(#[sensitive] card: String) {
    drop(card);
}

#[task]
async fn supplied(#[sensitive] ctx: Context) {
    drop(ctx);
}

#[task]
async fn with_more(#[sensitive(always)] card: String) {
    drop(card);
}

#[task]
async fn pay_contract(card: String);

#[task(implements = pay_contract)]
async fn pay(#[sensitive] card: String) {
    drop(card);
}

#[task(implements = pay_contract, sensitive)]
async fn pay_too(card: String) {
    drop(card);
}

fn main() {}
