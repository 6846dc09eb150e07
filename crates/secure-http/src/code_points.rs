//! Every number and label that stands in a message. Those of COSE-HPKE (draft-ietf-cose-hpke) are provisional until it is an RFC, and
//! those below -65536 are for private use (RFC 8392, 9.1).

/// COSE_Sign1, tagged (RFC 9052, 2).
pub const TAG_SIGN1: u64 = 18;
/// COSE_Encrypt0, tagged (RFC 9052, 2).
pub const TAG_ENCRYPT0: u64 = 16;

/// Header: algorithm.
pub const HEADER_ALG: i64 = 1;
/// Header: labels that must be understood.
pub const HEADER_CRIT: i64 = 2;
/// Header: content type.
pub const HEADER_CONTENT_TYPE: i64 = 3;
/// Header: key identifier.
pub const HEADER_KID: i64 = 4;
/// Header: CWT claims (RFC 9597).
pub const HEADER_CLAIMS: i64 = 15;
/// Header: type of the whole object (RFC 9596).
pub const HEADER_TYP: i64 = 16;
/// Header: encapsulated key of HPKE. Provisional.
pub const HEADER_EK: i64 = -4;
/// Header: identifier of the pre-shared key of HPKE. Provisional.
pub const HEADER_PSK_ID: i64 = -5;

/// ECDSA with SHA-256 (RFC 9053, 2.1).
pub const ALG_ES256: i64 = -7;
/// HPKE with DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, integrated. Provisional.
pub const ALG_HPKE_0: i64 = 35;
/// CoAP content format of application/cose; cose-type="cose-encrypt0".
pub const CONTENT_ENCRYPT0: u64 = 16;

/// Claim: issuer.
pub const CLAIM_ISS: i64 = 1;
/// Claim: subject.
pub const CLAIM_SUB: i64 = 2;
/// Claim: audience.
pub const CLAIM_AUD: i64 = 3;
/// Claim: expiration, seconds since 1970.
pub const CLAIM_EXP: i64 = 4;
/// Claim: not before, seconds since 1970.
pub const CLAIM_NBF: i64 = 5;
/// Claim: issued at, seconds since 1970.
pub const CLAIM_IAT: i64 = 6;
/// Claim: identifier of the message or statement.
pub const CLAIM_CTI: i64 = 7;
/// Claim: `[version, kind, seq, policy, irt]` of a message. Private.
pub const CLAIM_MESSAGE: i64 = -70001;
/// Claim: SHA-256 of the plaintext. Private.
pub const CLAIM_COMMITMENT: i64 = -70002;
/// Claim: `[role, sig key, kem key or null, previous serial or null, link]` of a statement. Private.
pub const CLAIM_KEYS: i64 = -70003;
/// Claim: the rules of a policy. Private.
pub const CLAIM_POLICY: i64 = -70004;

/// COSE_Key: key type.
pub const KEY_KTY: i64 = 1;
/// COSE_Key: key type with x and y.
pub const KTY_EC2: u64 = 2;
/// COSE_Key: curve.
pub const KEY_CRV: i64 = -1;
/// COSE_Key: P-256.
pub const CRV_P256: u64 = 1;
/// COSE_Key: x.
pub const KEY_X: i64 = -2;
/// COSE_Key: y.
pub const KEY_Y: i64 = -3;

/// Version of the message format.
pub const MESSAGE_VERSION: u64 = 1;
/// HPKE's `info` of messages.
pub const INFO_MESSAGE: &[u8] = b"heg-secure-http/1";
/// HPKE's `info` and outer additional data of enrolment requests.
pub const INFO_ENROLMENT: &[u8] = b"heg-enrol/1";

/// HTTP content type of a message.
pub const CONTENT_TYPE_SIGN1: &str = "application/cose; cose-type=\"cose-sign1\"";
/// HTTP content type of an enrolment request.
pub const CONTENT_TYPE_ENCRYPT0: &str = "application/cose; cose-type=\"cose-encrypt0\"";
