use std::time::Duration;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn lifetimes() -> Lifetimes {
    Lifetimes::new(MINUTE * 90, MINUTE * 30).unwrap()
}

fn names() -> Vec<String> {
    vec!["webhook.test".to_owned()]
}

fn start() -> (Data, Timestamp) {
    let now = Timestamp::from_second(1_900_000_000).unwrap();
    (fresh(lifetimes(), &names(), now).unwrap(), now)
}

fn examine(data: &Data, now: Timestamp) -> Contents {
    Contents::examine(data, &names(), now).unwrap()
}

/// The next write and its word; an error if there is none.
fn written(
    data: &Data,
    is_trusted: bool,
    now: Timestamp,
) -> Result<(Data, &'static str), Timestamp> {
    let contents = examine(data, now);
    match contents
        .step(lifetimes(), &names(), |_| is_trusted, now)
        .unwrap()
    {
        Step::Write { data, what } => Ok((data, what)),
        Step::Wait(until) => Err(until),
    }
}

fn bundle(data: &Data) -> Bundle {
    Bundle::parse(field(data, "ca.crt")).unwrap()
}

#[test]
fn a_certificate_is_renewed_at_two_thirds_of_its_life_under_the_same_authority() {
    let (data, now) = start();
    let until = written(&data, true, now).unwrap_err();
    let life = until.duration_since(now).as_secs();
    // Two thirds of half an hour and of the three minutes that it was dated back.
    assert_eq!(life, 22 * 60 - 3 * 60);

    let (renewed, what) = written(&data, true, until).unwrap();
    assert_eq!(what, "the certificate was renewed");
    assert_eq!(renewed["ca.crt"], data["ca.crt"]);
    assert_eq!(renewed["ca.key"], data["ca.key"]);
    assert_ne!(renewed["tls.key"], data["tls.key"]);
    assert_eq!(renewed["tls-retired.crt"], data["tls.crt"]);
    assert!(written(&renewed, true, until).is_err());
}

#[test]
fn an_authority_is_announced_then_signs_and_the_old_one_goes_with_its_last_certificate() {
    let (mut data, start) = start();
    let old = bundle(&data);
    let mut now = start;
    let mut story = Vec::new();
    let mut is_trusted = false;
    // The whole life of the first authority, from each thing to do to the next.
    while now < start + MINUTE * 90 {
        match written(&data, is_trusted, now) {
            Ok((written, what)) => {
                examine(&written, now);
                story.push(format!(
                    "minute {}: {what}, authorities: {}",
                    now.duration_since(start).as_secs() / 60,
                    bundle(&written).certificates().len()
                ));
                data = written;
                is_trusted = what == "a new authority was announced";
            }
            Err(until) => now = until,
        }
    }
    insta::assert_snapshot!(story.join("\n"), @r"
    minute 19: the certificate was renewed, authorities: 1
    minute 38: the certificate was renewed, authorities: 1
    minute 57: the certificate was renewed, authorities: 1
    minute 58: a new authority was announced, authorities: 2
    minute 58: the new authority signs from now on, authorities: 2
    minute 77: the certificate was renewed, authorities: 2
    minute 87: an authority that is no longer needed was removed, authorities: 1
    ");
    assert!(!bundle(&data).contains_all(&old));
    assert_eq!(data.get("ca-next.key"), None);
}

#[test]
fn an_authority_that_is_not_trusted_yet_does_not_sign() {
    let (data, now) = start();
    let due = now + MINUTE * 70;
    let (data, _) = {
        let leaf =
            CertificateAuthority::from_pem(field(&data, "ca.crt"), field(&data, "ca.key"), now)
                .unwrap()
                .issue(&names(), MINUTE * 30, due)
                .unwrap();
        let mut data = data.clone();
        put(&mut data, "tls.crt", leaf.chain_pem);
        put(&mut data, "tls.key", leaf.key_pem);
        written(&data, true, due).unwrap()
    };
    assert_eq!(bundle(&data).certificates().len(), 2);
    assert!(written(&data, false, due).is_err());
    let (switched, _) = written(&data, true, due).unwrap();
    assert_eq!(switched["ca.key"], data["ca-next.key"]);
    // Both are trusted, so whoever still serves the old certificate is.
    examine(&data, due)
        .pair
        .verify_under(bundle(&switched).certificates(), &names(), due)
        .unwrap();
    examine(&switched, due)
        .pair
        .verify_under(bundle(&data).certificates(), &names(), due)
        .unwrap();
}

#[test]
fn somebody_elses_pair_is_followed_by_an_authority_of_ours_before_it_ends() {
    let (mut data, now) = start();
    data.remove("ca.key");
    let until = written(&data, true, now).unwrap_err();
    assert_eq!(
        until.duration_since(now).as_secs(),
        (33 * 9 / 10 - 3) * 60 + 42
    );
    let (announced, what) = written(&data, false, until).unwrap();
    assert_eq!(what, "a new authority was announced");
    assert_eq!(announced["tls.crt"], data["tls.crt"]);
    let (switched, _) = written(&announced, true, until).unwrap();
    assert_eq!(bundle(&switched).certificates().len(), 2);
}

#[test]
fn a_key_that_does_not_belong_to_the_announced_authority_is_replaced() {
    let (data, now) = start();
    let due = now + MINUTE * 61;
    let renew = |data: &Data, at| written(data, false, at).unwrap().0;
    let data = renew(&data, now + MINUTE * 19);
    let data = renew(&data, now + MINUTE * 45);
    let mut data = renew(&data, due);
    assert!(data.contains_key("ca-next.key"));
    let foreign = CertificateAuthority::new(MINUTE * 90, due).unwrap();
    put(&mut data, "ca-next.key", foreign.key_pem());
    let (again, what) = written(&data, true, due).unwrap();
    assert_eq!(what, "a new authority was announced");
    assert_eq!(bundle(&again).certificates().len(), 3);
    // The one without a key goes again.
    let (tidy, _) = written(&again, false, due).unwrap();
    assert_eq!(bundle(&tidy).certificates().len(), 2);
}

#[test]
fn a_bundle_of_strangers_is_not_tidied() {
    let (mut data, now) = start();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let stranger = params.self_signed(&key).unwrap().pem();
    let both = format!(
        "{}{stranger}",
        String::from_utf8_lossy(field(&data, "ca.crt"))
    );
    put(&mut data, "ca.crt", both);
    assert!(written(&data, true, now).is_err());
}

#[test]
fn a_mended_secret_keeps_the_authority_that_was_announced() {
    let (data, now) = start();
    let due = now + MINUTE * 61;
    let renew = |data: &Data, at| written(data, false, at).unwrap().0;
    let data = renew(&data, now + MINUTE * 19);
    let data = renew(&data, now + MINUTE * 40);
    let announced = renew(&data, due);
    let mut broken = announced.clone();
    put(&mut broken, "tls.key", "");
    let good = examine(&announced, due);
    for last_good in [None, Some(&good)] {
        let repaired_data = repaired(&broken, last_good, lifetimes(), &names(), due).unwrap();
        assert_eq!(bundle(&repaired_data), bundle(&announced));
        assert_eq!(repaired_data["ca-next.key"], announced["ca-next.key"]);
        examine(&repaired_data, due);
    }
    // With nothing left but what is remembered, too.
    let repaired_data = repaired(&Data::new(), Some(&good), lifetimes(), &names(), due).unwrap();
    assert_eq!(repaired_data["ca-next.key"], announced["ca-next.key"]);
    assert_eq!(repaired_data["ca.key"], announced["ca.key"]);
}
