//! `org.freedesktop.login1.Session`, one object per login.

use std::sync::Arc;

use zbus::{OwnedObjectPath, interface};

use super::{Logind, manager, path_label};
use crate::hardware::Session;

struct SessionObject {
    logind: Arc<Logind>,
    id: String,
}

impl SessionObject {
    /// A property of a session that has just ended is empty.
    fn read<T: Default>(&self, property: impl FnOnce(&Session) -> T) -> T {
        self.logind.state().sessions.get(&self.id).map(property).unwrap_or_default()
    }
}

#[interface(name = "org.freedesktop.login1.Session")]
impl SessionObject {
    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> &str {
        &self.id
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn user(&self) -> (u32, OwnedObjectPath) {
        let uid = self.read(|s| s.uid);
        (uid, object_path(&format!("/org/freedesktop/login1/user/_{uid}")))
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> String {
        self.read(|s| s.user.clone())
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn class(&self) -> String {
        self.read(|s| s.class.clone())
    }

    #[zbus(property(emits_changed_signal = "const"), name = "Type")]
    fn kind(&self) -> String {
        self.read(|s| s.kind.clone())
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn remote(&self) -> bool {
        self.read(|s| s.remote)
    }

    #[zbus(property)]
    fn active(&self) -> bool {
        self.read(|s| s.state == "active")
    }

    #[zbus(property)]
    fn state(&self) -> String {
        self.read(|s| s.state.clone())
    }

    #[zbus(property)]
    fn idle_hint(&self) -> bool {
        self.read(|s| s.idle_hint)
    }

    #[zbus(property)]
    fn locked_hint(&self) -> bool {
        false
    }
}

/// A session comes, or changes.
pub(super) async fn put(logind: &Arc<Logind>, session: Session) -> zbus::Result<()> {
    let id = session.id.clone();
    let is_new = logind.state().sessions.insert(id.clone(), session).is_none();
    let connection = logind.connection()?;
    let server = connection.object_server();
    if is_new {
        server.at(path(&id), SessionObject { logind: Arc::clone(logind), id: id.clone() }).await?;
        return manager::session_told(connection, &id, true).await;
    }
    let interface = server.interface::<_, SessionObject>(path(&id)).await?;
    let (object, emitter) = (interface.get().await, interface.signal_emitter());
    object.active_changed(emitter).await?;
    object.state_changed(emitter).await?;
    object.idle_hint_changed(emitter).await
}

/// A session ends.
pub(super) async fn end(logind: &Arc<Logind>, id: &str) -> zbus::Result<()> {
    if logind.state().sessions.remove(id).is_none() {
        return Ok(());
    }
    let connection = logind.connection()?;
    connection.object_server().remove::<SessionObject, _>(path(id)).await?;
    manager::session_told(connection, id, false).await
}

/// The object of a session.
pub(super) fn path(id: &str) -> OwnedObjectPath {
    object_path(&format!("/org/freedesktop/login1/session/{}", path_label(id)))
}

/// People at the machine sit at its only seat.
pub(super) fn seat(session: &Session) -> String {
    if session.remote { String::new() } else { "seat0".to_owned() }
}

/// The root object stands in for a path that can't be: labels are escaped, so there is none.
fn object_path(text: &str) -> OwnedObjectPath {
    OwnedObjectPath::try_from(text).unwrap_or_default()
}
