//! What somebody learns who only listens.

use std::collections::BTreeSet;

use secure_http::{Envelope, SealedError};
use utility_wire::{Message as _, Report};

use crate::events::{APPLIANCES, STATES, poll, report};
use crate::plain::{PlainHome, PlainUtility};
use crate::table::{Findings, row};
use crate::wire::{Exchange, Wire};
use crate::world::World;

#[test]
fn who_listens_learns_neither_which_appliance_nor_what_it_does_nor_how_it_went() {
    row("Reconnaissance", async || {
        let events: Vec<_> = APPLIANCES.into_iter().flat_map(|a| STATES.map(|s| (a, s))).collect();
        let reports: Vec<Report> = (1..).zip(&events).map(|(batch, (a, s))| report(batch, a, *s)).collect();

        // Unsealed, the life of the home goes by word for word.
        let utility = PlainUtility::start().await;
        let wire = Wire::to(&utility.address).await;
        let home = PlainHome::new("home");
        for report in &reports {
            assert!(home.tell(&wire.address(), report).await);
        }
        let read: Vec<_> = wire.seen().iter().map(|e| Report::decode(&e.request.body).expect("in clear")).collect();
        assert_eq!(read, reports, "the sniffer reads what the utility reads");
        let plain = lengths(&wire.seen());

        // Sealed, an event is a message of the one length that all of them have.
        let world = World::new().await;
        let wire = Wire::to(&world.utility.address).await;
        let mut home = world.home(1).await;
        for report in &reports {
            let answer = home.report(&wire.address(), report).await;
            assert!(answer.stored().is_some(), "{answer:?}");
        }
        let sealed = lengths(&wire.seen());
        assert!(home.poll(&wire.address(), &poll()).await.command().is_some());
        world.utility.switch_off(1, "heat-pump");
        let told = home.poll(&wire.address(), &poll()).await.command().expect("a command");
        assert_eq!(told.controls.len(), 1, "something to say");
        for word in APPLIANCES {
            assert!(!wire.shows(word.as_bytes()) && !wire.shows(word.replace(' ', "-").as_bytes()), "{word}");
        }
        // That something is wrong shows no more than that all is well: an error is sealed too, with the same status.
        let again = wire.last("/u/v1/report").request.body;
        let refused = home.resend(&wire.address(), &again).await;
        assert_eq!(home.why(&again, &refused), SealedError::Replay);
        let seen = wire.seen();
        assert!(seen.iter().all(|e| e.answer.as_ref().is_some_and(|a| a.status() == 200)));
        for exchange in &seen {
            let head = Envelope::parse(&exchange.request.body).expect("a message").head().clone();
            assert!(Report::decode(&exchange.request.body).is_err());
            // This is what stands in clear, and all of it.
            assert_eq!((head.issuer, head.audience), (home.member.id(), home.utility().subject()));
        }
        assert_eq!(sealed.len(), 1, "{sealed:?}");
        let mean = |lengths: &[Exchange]| lengths.iter().map(|e| e.request.body.len()).sum::<usize>() / lengths.len();
        let (bytes, clear) =
            (mean(&seen[..reports.len()]), reports.iter().map(|r| r.encode().len()).sum::<usize>() / reports.len());
        Findings {
            plain: format!("reads all {} events", events.len()),
            sealed: "sees that home and utility talk, when, and how much in steps of 64 bytes".to_owned(),
            cost: format!(
                "{} events have {} lengths in clear and {} sealed; {bytes} bytes in place of {clear}",
                events.len(),
                plain.len(),
                sealed.len()
            ),
        }
    });
}

/// The lengths that there are.
fn lengths(seen: &[Exchange]) -> BTreeSet<usize> {
    seen.iter().map(|e| e.request.body.len()).collect()
}
