//! What a utility orders: tokens, revocations, policies. It may do less than an operator of the centre, and each order is in the audit log
//! with the utility's UUID and the name of who wanted it there (docs/decisions/0043).

use std::path::Path;

use secure_http::{Order, Ordered, PartyId, PolicyError, Role, SealedError, UnixTime};
use serde::Deserialize;

use super::admin::{AdminError, NewToken};
use super::sealed::{Done, Sent, utility_of};
use super::{CentreError, Desk, Renewed};
use crate::policy_file;
use crate::store::{Change, Standing, Stated};

/// What the centre's operators may let utilities order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// Tokens for gateways of their own.
    Token,
    /// Revocations of gateways of their own.
    Revoke,
    /// The policy, as long as there is only one utility.
    Policy,
}

impl Desk {
    /// Carries an order out, or answers why not. Only for the key in force: a stolen one that was rolled over orders nothing.
    pub(super) fn order(
        &mut self,
        change: &Change<'_>,
        known: &Stated,
        body: &[u8],
        now: UnixTime,
    ) -> Result<Sent, CentreError> {
        if known.statement.role() != Role::Utility || known.standing != Standing::Active {
            return Ok(Sent::error(SealedError::Forbidden));
        }
        let Ok(order) = Order::decode(body) else { return Ok(Sent::error(SealedError::Unsupported)) };
        let utility = known.statement.subject();
        let operator = order.operator();
        let named = !operator.is_empty() && !operator.chars().any(char::is_control);
        let actor = if named { format!("{utility}/{operator}") } else { utility.to_string() };
        let carried_out = if named {
            self.carry_out(change, utility, &order, &actor, now)
        } else {
            Err(AdminError::Wrong("the operator needs a name without control characters"))
        };
        let (ordered, renewed, done) = match carried_out {
            Ok((text, renewed)) => (Ordered::Done(text), renewed, Done::Ordered),
            // Something of the centre's own failed: not the utility's business, and nothing is kept.
            Err(AdminError::Centre(error)) if !is_below_floor(&error) => return Err(error),
            Err(error) => {
                let reason = error.to_string();
                change.audit(now, &actor, "order-refused", word(&order), &reason)?;
                (Ordered::Refused(reason), Renewed::default(), Done::OrderRefused)
            }
        };
        let mut sent = Sent::ack(ordered.encode());
        (sent.renewed, sent.done) = (renewed, done);
        Ok(sent)
    }

    /// What was asked for, and what in memory goes with it. Refused before anything is written.
    fn carry_out(
        &mut self,
        change: &Change<'_>,
        utility: PartyId,
        order: &Order,
        actor: &str,
        now: UnixTime,
    ) -> Result<(String, Renewed), AdminError> {
        let power = match order {
            Order::Token { .. } => Power::Token,
            Order::Revoke { .. } => Power::Revoke,
            Order::Policy { .. } => Power::Policy,
        };
        if !self.settings.utilities_may.contains(&power) {
            return Err(AdminError::Wrong("this key management centre does not take such orders (utilities.may)"));
        }
        let mut renewed = Renewed::default();
        let text = match order {
            Order::Token { party, premises, days, .. } => {
                if let Some(found) = party.map(|party| change.active(&party)).transpose()?.flatten() {
                    is_theirs(change, utility, &found)?;
                }
                let (premises, utility) = (premises.clone(), Some(utility));
                let wanted = NewToken { role: Role::Gateway, uuid: *party, utility, premises, days: *days };
                self.make_token(change, &wanted, actor, now)?.1.to_string()
            }
            Order::Revoke { party, reason, .. } => {
                let found =
                    change.active(party)?.ok_or_else(|| AdminError::Unknown(format!("gateway {party} in force")))?;
                is_theirs(change, utility, &found)?;
                renewed.revocations = Some(self.revoke_stated(change, &found, reason, actor, now)?);
                String::new()
            }
            Order::Policy { toml, .. } => {
                if change.sole_utility()? != Some(utility) {
                    return Err(AdminError::Wrong("the policy is also that of other utilities: heg-kmc policy set"));
                }
                let parsed = policy_file::parse(toml, Path::new("policy"));
                let (rules, seconds) = parsed.map_err(|error| AdminError::Text(error.to_string()))?;
                let policy = self.make_policy(change, &rules, seconds, actor, now)?;
                let version = policy.version().to_string();
                renewed.policy = Some(policy);
                version
            }
        };
        Ok((text, renewed))
    }
}

/// A utility orders about gateways, and only about its own.
fn is_theirs(change: &Change<'_>, utility: PartyId, found: &Stated) -> Result<(), AdminError> {
    if found.statement.role() != Role::Gateway {
        return Err(AdminError::Wrong("a utility may order this for gateways only"));
    }
    if utility_of(change, &found.statement.subject())? != Some(utility) {
        return Err(AdminError::Wrong("the gateway belongs to another utility"));
    }
    Ok(())
}

fn is_below_floor(error: &CentreError) -> bool {
    matches!(error, CentreError::Policy(PolicyError::BelowFloor))
}

fn word(order: &Order) -> &'static str {
    match order {
        Order::Token { .. } => "token",
        Order::Revoke { .. } => "revoke",
        Order::Policy { .. } => "policy",
    }
}
