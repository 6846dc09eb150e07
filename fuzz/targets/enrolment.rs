//! Enrolment requests and roll-overs, and the bodies of sealed messages; what a body is read as is written the same.
#![no_main]
use libfuzzer_sys::fuzz_target;
use secure_http::{
    Ack, EnrolChallenge, EnrolConfirm, EnrolmentRequest, KeyAnswer, KeyRequest, PartyId, Rollover, SealedError, TimeAnswer,
};

macro_rules! round_trip {
    ($data:expr, $($body:ty),*) => {$(
        if let Ok(body) = <$body>::decode($data) {
            assert_eq!(body.encode(), $data);
        }
    )*};
}

fuzz_target!(|data: &[u8]| {
    let _ = EnrolmentRequest::parse(data);
    let party: PartyId = "2fac1234-31f8-41b4-a222-08002b34c003".parse().expect("a UUID");
    let _ = Rollover::verify(data, &party);
    round_trip!(data, Ack, KeyRequest, KeyAnswer, EnrolChallenge, EnrolConfirm, TimeAnswer, SealedError);
});
