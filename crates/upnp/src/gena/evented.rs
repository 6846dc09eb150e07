//! The evented state of one service: the values subscribers are told, when moderation lets them, and in which bytes.

use bytes::Bytes;

use super::propertyset;
use crate::service::{Allowed, DataType, Eventing, ServiceDecl, VariableDecl};
use crate::time::BootTime;

/// A set of evented variables of one service; bit i is the i-th in declared order.
pub(super) type Variables = u64;

#[derive(Debug)]
pub(super) struct Service {
    pub(super) decl: &'static ServiceDecl,
    evented: Vec<Evented>,
    /// Moderated variables that changed and may not be told yet.
    pub(super) held: Variables,
    /// Counts the multicast events of this service.
    pub(super) multicast_seq: u32,
    /// The last body built, as long as no value has changed since: subscribers who miss the same share it.
    body: Option<(Variables, Bytes)>,
}

#[derive(Debug)]
struct Evented {
    decl: &'static VariableDecl,
    value: String,
    /// When a moderated variable was last told.
    told: Option<BootTime>,
}

impl Service {
    /// Every variable at the least value of its type.
    pub(super) fn new(decl: &'static ServiceDecl) -> Self {
        let evented: Vec<_> = decl
            .variables
            .iter()
            .filter(|v| v.eventing != Eventing::No)
            .map(|decl| Evented { decl, value: least(decl), told: None })
            .collect();
        assert!(evented.len() <= Variables::BITS as usize, "a service has at most 64 evented variables");
        Self { decl, evented, held: 0, multicast_seq: 0, body: None }
    }

    /// All evented variables.
    pub(super) fn all(&self) -> Variables {
        self.evented.iter().enumerate().fold(0, |all, (i, _)| all | 1 << i)
    }

    /// Stores values; which of the evented ones are new.
    pub(super) fn set(&mut self, changes: &[(&'static str, String)]) -> Variables {
        let mut changed = 0;
        for (name, value) in changes {
            let Some(i) = self.evented.iter().position(|e| e.decl.name == *name) else { continue };
            if self.evented[i].value != *value {
                self.evented[i].value.clone_from(value);
                changed |= 1 << i;
            }
        }
        if changed != 0 {
            self.body = None;
        }
        changed
    }

    /// Takes out of `held` what may be told now: all of it, and of that what also goes out by multicast.
    pub(super) fn take_due(&mut self, now: BootTime) -> (Variables, Variables) {
        let (mut told, mut multicast) = (0, 0);
        for (i, variable) in self.evented.iter_mut().enumerate() {
            let bit = 1 << i;
            if self.held & bit == 0 || variable.due().is_some_and(|at| at > now) {
                continue;
            }
            variable.told = Some(now);
            told |= bit;
            if variable.decl.eventing == Eventing::Multicast {
                multicast |= bit;
            }
        }
        self.held &= !told;
        (told, multicast)
    }

    /// When the next held variable may be told.
    pub(super) fn due(&self) -> Option<BootTime> {
        let held = self.evented.iter().enumerate().filter(|(i, _)| self.held & 1 << i != 0);
        held.map(|(_, v)| v.due().unwrap_or_default()).min()
    }

    /// The property set of these variables as they are now.
    pub(super) fn body(&mut self, variables: Variables) -> Bytes {
        match &self.body {
            Some((of, body)) if *of == variables => body.clone(),
            _ => {
                let set = self.evented.iter().enumerate().filter(|(i, _)| variables & 1 << i != 0);
                let set: Vec<_> = set.map(|(_, v)| (v.decl.name, &*v.value)).collect();
                let body = propertyset::write(&set);
                self.body = Some((variables, body.clone()));
                body
            }
        }
    }
}

impl Evented {
    /// The earliest time a change may be told; none for at once.
    fn due(&self) -> Option<BootTime> {
        Some(self.told? + self.decl.max_rate?)
    }
}

/// What a variable says until it is set.
fn least(decl: &VariableDecl) -> String {
    match (decl.allowed, decl.data_type) {
        (Allowed::List(words), _) => words.first().copied().unwrap_or_default().to_owned(),
        (Allowed::Range(from, _, _), _) => from.to_string(),
        (Allowed::Any, DataType::String) => String::new(),
        (Allowed::Any, DataType::Ui4 | DataType::I4 | DataType::Boolean) => "0".to_owned(),
        (Allowed::Any, DataType::Time) => "00:00:00".to_owned(),
    }
}
