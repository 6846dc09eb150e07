//! Every bound of the agent, each with its reason.

use core::time::Duration;

/// A change of state within this time after an order of ours is put down to it. logind waits 5 s for delay inhibitors by
/// default, a unit may take 20 s to stop.
pub const ORDER_EXPLAINS_CHANGE_WITHIN: Duration = Duration::from_secs(30);

/// Registrations held at one time. A home has a gateway or two with a handful of windows each; each takes about 200 bytes.
pub const REGISTRATIONS_MAX: usize = 128;
/// Own wishes (WakeUpTime, NoStandbyPeriod) from configuration and command line together.
pub const WISHES_MAX: usize = 32;
/// Gateways registered with. One is normal, two happens while one is replaced.
pub const GATEWAYS_MAX: usize = 4;
/// No-standby windows in the configuration. A window for each hour of the day is already odd.
pub const WINDOWS_MAX: usize = 32;
/// Minimum on and off times in the configuration, seconds; more than a day is a slip of the finger.
pub const MINIMUM_TIME_S_MAX: u32 = 24 * 60 * 60;
/// Units named as busy in the configuration; each costs a bus call per command.
pub const BUSY_UNITS_MAX: usize = 32;
/// Sessions looked at before a command; each costs three bus calls. A home machine has one or two.
pub const SESSIONS_MAX: usize = 16;
/// Inhibitor locks looked at; logind itself allows 8192, a desktop holds about ten.
pub const INHIBITORS_MAX: usize = 256;

/// Gathering the facts a command is judged by (bus calls, sysfs reads). The caller waits for it.
pub const FACTS_WITHIN: Duration = Duration::from_secs(3);
/// An operation driver's order, to its result. UPnP wants an answer within 30 s, facts and network included.
pub const OPERATION_WITHIN: Duration = Duration::from_secs(20);
/// A unit that is still starting after this long is answered as accepted: its state follows as an event.
pub const UNIT_SETTLES_WITHIN: Duration = Duration::from_secs(10);
/// First and longest pause between two looks at a unit whose job runs.
pub const UNIT_LOOK_FIRST: Duration = Duration::from_millis(20);
/// See [`UNIT_LOOK_FIRST`].
pub const UNIT_LOOK_LONGEST: Duration = Duration::from_millis(500);
/// A status command that takes longer tells nothing: it is asked while a person or a command waits.
pub const STATUS_COMMAND_WITHIN: Duration = Duration::from_secs(5);
/// Error output of a command that is kept for the reason of a failure.
pub const COMMAND_STDERR_BYTES_MAX: u64 = 512;
/// One bus call; logind and systemd answer within milliseconds, on a loaded machine within a second or two.
pub const BUS_CALL_WITHIN: Duration = Duration::from_secs(5);
/// How often logind is asked to suspend while it still ends the last sleep, and the pause between: it takes one to three seconds from
/// the kernel's thaw.
pub const SUSPEND_TRIES_MAX: u32 = 20;
/// See [`SUSPEND_TRIES_MAX`].
pub const SUSPEND_TRY_EVERY: Duration = Duration::from_millis(500);
/// Connecting to the bus, the first sequence of calls included.
pub const BUS_CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// First and longest pause before the bus is tried again.
pub const BUS_RETRY_FIRST: Duration = Duration::from_secs(1);
/// See [`BUS_RETRY_FIRST`].
pub const BUS_RETRY_LONGEST: Duration = Duration::from_secs(60);
/// Signals the bus connection holds for us while the loop is busy. Ours come a few per hour.
pub const BUS_SIGNALS_QUEUED_MAX: usize = 32;

/// How long the last event may take to be delivered before the delay lock is released all the same. logind gives 5 s
/// (InhibitDelayMaxSec) to all holders together and then sleeps without asking.
pub const LAST_EVENT_WITHIN: Duration = Duration::from_secs(2);
/// While the machine should be asleep and this process runs, logind is asked so often whether it still is: a lost
/// `PrepareForSleep(false)` must not leave the appliance in standby for ever.
pub const SLEEP_DOUBTED_EVERY: Duration = Duration::from_secs(20);
/// After a Suspend or PowerOff that logind accepted, the announcement must come within this time, or it counts as failed.
pub const ANNOUNCEMENT_WITHIN: Duration = Duration::from_secs(15);
/// Saying goodbye (last event, byebye, UNSUBSCRIBE) before the process ends; systemd kills after 90 s.
pub const GOODBYE_WITHIN: Duration = Duration::from_secs(3);
/// The first look at the operation before the device is announced, so that its first event is right.
pub const FIRST_LOOK_WITHIN: Duration = Duration::from_secs(3);

/// A StandbyPeriod that was refused at its start is tried again so often while it lasts.
pub const STANDBY_RETRY_EVERY: Duration = Duration::from_secs(5 * 60);
/// How late after its start a StandbyPeriod may still begin: a restart of the agent or a slow boot is bridged, but who
/// switches the machine on in the middle of the night keeps it on.
pub const STANDBY_START_LATE_MAX: Duration = Duration::from_secs(2 * 60);
/// A StandbyPeriod with less left than this is not worth a suspend and a resume.
pub const STANDBY_WORTH: Duration = Duration::from_secs(60);

/// A call to a gateway that failed in a way that may pass is tried again after this long, doubling to the longest.
pub const GATEWAY_RETRY_FIRST: Duration = Duration::from_secs(2);
/// See [`GATEWAY_RETRY_FIRST`].
pub const GATEWAY_RETRY_LONGEST: Duration = Duration::from_secs(5 * 60);
/// A wish that the gateway refused for a cause that may pass (501, 603, 612: a full disk, a rush) is asked again after this
/// long, doubling to the longest. The gateway is well otherwise, so nothing else waits for it.
pub const WISH_RETRY_FIRST: Duration = Duration::from_secs(30);
/// See [`WISH_RETRY_FIRST`].
pub const WISH_RETRY_LONGEST: Duration = Duration::from_secs(10 * 60);
/// A request of the command line waits this long for the gateway's answer before it says that it is still open.
pub const REQUEST_ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Requests of the command line that wait for a gateway at one time.
pub const REQUESTS_WAITING_MAX: usize = 16;
/// An own WakeUpTime is the gateway's to keep. Where the machine has a wake alarm it rings so much later, in case the gateway
/// is gone; a gateway repeats its magic packet for about as long.
pub const GATEWAY_WAKES_WITHIN: Duration = Duration::from_secs(60);
/// How often the gateway is searched for while none is known; with one known, its own announcements suffice.
pub const GATEWAY_SEARCH_EVERY: Duration = Duration::from_secs(5 * 60);

/// Events and refusals kept for `status` and the page: one screen.
pub const HISTORY_MAX: usize = 16;
/// Commands under way at one time; more are answered 612 Device Busy.
pub const COMMANDS_MAX: usize = 8;

/// The state file. 128 registrations and 32 wishes take about 40 KB.
pub const STATE_FILE_BYTES_MAX: u64 = 512 * 1024;
/// Changes that may be lost in a crash (last state, energy, a caller's first query) are written this late, together,
/// for the sake of SD cards. What must survive is written before it is answered.
pub const STORE_LATE: Duration = Duration::from_secs(30);
/// When a state that could not be written (full disk) is tried again.
pub const STORE_AGAIN: Duration = Duration::from_secs(10);
/// Energy counted since the last write that is worth a write on its own.
pub const ENERGY_STORED_EVERY: Duration = Duration::from_secs(15 * 60);
/// How often the power meter is read: energy is counted from these readings.
pub const METER_EVERY: Duration = Duration::from_secs(10);
/// A sysfs value (power, battery, RTC): a number or a word.
pub const SYSFS_VALUE_BYTES_MAX: u64 = 256;
/// Entries of /sys/class/power_supply looked at; a laptop has three or four.
pub const POWER_SUPPLIES_MAX: usize = 16;

/// Loading the probe, where the agent does not start without it: under half a second on a busy machine; a first boot from an SD
/// card reads slowly.
pub const PROBE_LOADED_WITHIN: Duration = Duration::from_secs(20);
/// The probe's object: 5 KiB as it is built, some 100 KiB with debug information.
pub const PROBE_OBJECT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Records between the probe's thread and the main loop. A suspend makes about ten, and the loop takes them within
/// milliseconds; what does not fit is counted and told in `status`.
pub const PROBE_RECORDS_QUEUED_MAX: usize = 64;
/// Stack of the probe's thread: the loader parses the object on it. Only what is touched takes memory.
pub const PROBE_THREAD_STACK_BYTES: usize = 512 * 1024;
/// A tracepoint's description in tracefs: ten lines.
pub const TRACEFS_FILE_BYTES_MAX: u64 = 16 * 1024;

/// Network interfaces kept. A home machine has a few; containers make many veth.
pub const LINKS_MAX: usize = 64;
/// Time for the kernel to answer a generic netlink request.
pub const NETLINK_ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// A netlink datagram; the kernel sends at most 32 KiB (NLMSG_GOODSIZE and dumps).
pub const NETLINK_BYTES_MAX: usize = 32 * 1024;
/// For systemd to run the service that asks the network cards; it is one short program.
pub const WAKE_SERVICE_WITHIN: Duration = Duration::from_secs(10);
/// What that service leaves: [`LINKS_MAX`] links of some 20 bytes.
pub const WAKE_FILE_BYTES_MAX: u64 = 8 * 1024;
