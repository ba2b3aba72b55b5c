import base64
import binascii
import hashlib
import hmac
import re
import time


def verify(secret, headers, body):
    """Says whether a request came from whoever has the secret, and just now.

    The body is bytes, as it was received: request.get_data() in Flask, request.body in Django. A secret begins with
    whsec_ (HMAC-SHA256). For ed25519 (whpk_), which the standard library does not have, pip install cryptography.
    """
    message_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    if not re.fullmatch("[0-9]{1,12}", timestamp) or abs(time.time() - int(timestamp)) > 300:
        return False
    kind, _, encoded = secret.partition("_")
    key = base64.b64decode(encoded)
    if not key:
        return False
    signed = f"{message_id}.{timestamp}.".encode() + body
    for part in headers.get("webhook-signature", "").split():
        version, _, value = part.partition(",")
        try:
            signature = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            continue
        if version == "v1" and kind == "whsec":
            want = hmac.new(key, signed, hashlib.sha256).digest()
            if hmac.compare_digest(signature, want):  # in constant time
                return True
        elif version == "v1a" and kind == "whpk" and verify_ed25519(key, signature, signed):
            return True
    return False


def verify_ed25519(key, signature, signed):
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True
