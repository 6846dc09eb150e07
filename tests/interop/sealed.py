"""Opens our sealed messages with public libraries, and makes ones for us to open.

One JSON object on standard input, one on standard output; byte strings in hexadecimal. Uses pycose for COSE_Sign1, pyhpke for HPKE,
cryptography for ECDSA and HMAC, cbor2 for everything else. Nothing here knows our code.
"""

import hashlib
import hmac
import json
import sys

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from pycose.keys import EC2Key
from pycose.keys.curves import P256
from pycose.messages import Sign1Message
from pyhpke import AEADId, CipherSuite, KDFId, KEMId, KEMKey

SUITE = CipherSuite.new(KEMId.DHKEM_P256_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES128_GCM)
INFO = b"heg-secure-http/1"
ENROL = b"heg-enrol/1"


def private(raw):
    return ec.derive_private_key(int.from_bytes(raw, "big"), ec.SECP256R1())


def public(point):
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


def point_of(key):
    numbers = key.public_key().public_numbers()
    return b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def cose_key(point):
    return {1: 2, -1: 1, -2: point[1:33], -3: point[33:]}


def kid(point):
    return hashlib.sha256(cbor2.dumps(cose_key(point))).digest()[:8]


def sign1(protected, payload, key):
    to_sign = cbor2.dumps(["Signature1", protected, b"", payload])
    r, s = decode_dss_signature(key.sign(to_sign, ec.ECDSA(hashes.SHA256())))
    return cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, r.to_bytes(32, "big") + s.to_bytes(32, "big")]))


def verify1(raw, point):
    """Twice: as COSE by pycose, and as bare ECDSA."""
    message = Sign1Message.decode(raw)
    message.key = EC2Key(crv=P256, x=point[1:33], y=point[33:])
    assert message.verify_signature(), "pycose"
    protected, unprotected, payload, signature = cbor2.loads(raw).value
    assert unprotected == {}
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    to_sign = cbor2.dumps(["Signature1", protected, b"", payload])
    public(point).verify(der, to_sign, ec.ECDSA(hashes.SHA256()))
    return protected, payload


def open_message(raw, sender, recipient):
    protected, payload = verify1(raw, sender)
    claims = cbor2.loads(protected)[15]
    inner, unprotected, ciphertext = cbor2.loads(payload)
    assert cbor2.loads(inner) == {1: 35, 4: kid(point_of(recipient))}
    context = SUITE.create_recipient_context(
        unprotected[-4], KEMKey.from_pyca_cryptography_key(recipient), info=INFO
    )
    plaintext = context.open(ciphertext, aad=cbor2.dumps(["Encrypt0", inner, protected]))
    assert hashlib.sha256(plaintext).digest() == claims[-70002], "commitment"
    length = int.from_bytes(plaintext[16:20], "big")
    assert len(plaintext) % 64 == 0 and not any(plaintext[20 + length:]), "padding"
    return claims, plaintext[20:20 + length]


def make_message(job, sender, recipient_point):
    body = b"made in Python"
    plaintext = bytes(range(16)) + len(body).to_bytes(4, "big") + body
    plaintext += bytes(-len(plaintext) % 64)
    protected = cbor2.dumps({
        1: -7, 2: [15], 3: 16, 4: kid(point_of(sender)),
        15: {1: job["iss"], 3: job["aud"], 4: job["now"] + 60, 6: job["now"], 7: b"12345678",
             -70001: [1, 1, 70000, 1, None], -70002: hashlib.sha256(plaintext).digest()},
    })
    inner = cbor2.dumps({1: 35, 4: kid(recipient_point)})
    enc, context = SUITE.create_sender_context(
        KEMKey.from_pyca_cryptography_key(public(recipient_point)), info=INFO
    )
    ciphertext = context.seal(plaintext, aad=cbor2.dumps(["Encrypt0", inner, protected]))
    return sign1(protected, cbor2.dumps([inner, {-4: enc}, ciphertext]), sender), body


def enrolment_aad(inner):
    return cbor2.dumps(["Encrypt0", inner, ENROL])


def open_enrolment(raw, recipient, token):
    inner, unprotected, ciphertext = cbor2.loads(raw).value
    context = SUITE.create_recipient_context(
        unprotected[-4], KEMKey.from_pyca_cryptography_key(recipient), info=ENROL,
        psk=token, psk_id=cbor2.loads(inner)[-5],
    )
    signed = context.open(ciphertext, aad=enrolment_aad(inner))
    number, party, sig, kem, token_id, nonce, mac = cbor2.loads(cbor2.loads(signed).value[2])
    points = [b"\x04" + key[-2] + key[-3] for key in (sig, kem)]
    verify1(signed, points[0])
    expected = hmac.digest(token, ENROL + party.encode() + points[0] + points[1] + token_id + nonce, "sha256")
    assert number == 8 and mac == expected
    return party


def make_enrolment(job, recipient_point, token):
    sig, kem = private(bytes([3] * 32)), private(bytes([4] * 32))
    points = [point_of(sig), point_of(kem)]
    token_id = hashlib.sha256(b"heg-token-id/1" + token).digest()[:8]
    mac = hmac.digest(token, ENROL + job["iss"].encode() + points[0] + points[1] + token_id + b"abcdefgh", "sha256")
    payload = cbor2.dumps([8, job["iss"], cose_key(points[0]), cose_key(points[1]), token_id, b"abcdefgh", mac])
    signed = sign1(cbor2.dumps({1: -7, 4: kid(points[0]), 16: "heg-enrol"}), payload, sig)
    inner = cbor2.dumps({1: 35, 4: kid(recipient_point), -5: token_id})
    enc, context = SUITE.create_sender_context(
        KEMKey.from_pyca_cryptography_key(public(recipient_point)), info=ENROL, psk=token, psk_id=token_id
    )
    ciphertext = context.seal(signed, aad=enrolment_aad(inner))
    return cbor2.dumps(cbor2.CBORTag(16, [inner, {-4: enc}, ciphertext]))


def main():
    job = json.load(sys.stdin)
    ours = {name: bytes.fromhex(value) for name, value in job["bytes"].items()}
    kem, theirs = private(ours["kem_private"]), private(bytes([5] * 32))
    claims, body = open_message(ours["message"], ours["sig_public"], kem)
    _, statement = verify1(ours["statement"], ours["issuer_public"])
    statement = cbor2.loads(statement)
    message, made = make_message(job, theirs, ours["kem_public"])
    answer = {
        "issuer": claims[1], "audience": claims[3], "kind": claims[-70001][1], "body": body.hex(),
        "subject": statement[2], "serial": int.from_bytes(statement[7], "big"),
        "enrolled": open_enrolment(ours["enrolment"], kem, ours["token"]),
        "message": message.hex(), "made": made.hex(), "sig_public": point_of(theirs).hex(),
        "enrolment": make_enrolment(job, ours["kem_public"], ours["token"]).hex(),
    }
    json.dump(answer, sys.stdout)


main()
