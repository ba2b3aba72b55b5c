<?php

/**
 * Says whether a request came from whoever has the secret, and just now. The body is file_get_contents('php://input'), before
 * it is parsed; the names of headers are in small letters. A secret begins with whsec_ (HMAC-SHA256); of an ed25519 key you
 * have the public half, whpk_, for which PHP needs its extension sodium.
 */
function verify(string $secret, array $headers, string $body): bool
{
    $id = $headers['webhook-id'] ?? '';
    $timestamp = $headers['webhook-timestamp'] ?? '';
    if (!ctype_digit($timestamp) || abs(time() - (int) $timestamp) > 300) {
        return false;
    }
    [$kind, $encoded] = explode('_', $secret, 2) + ['', ''];
    $key = base64_decode($encoded, true);
    if ($key === false || $key === '') {
        return false;
    }
    $signed = "$id.$timestamp.$body";
    foreach (explode(' ', $headers['webhook-signature'] ?? '') as $part) {
        [$version, $value] = explode(',', $part, 2) + ['', ''];
        $signature = base64_decode($value, true);
        if ($signature === false) {
            continue;
        }
        if ($version === 'v1' && $kind === 'whsec') {
            if (hash_equals(hash_hmac('sha256', $signed, $key, true), $signature)) { // in constant time
                return true;
            }
        } elseif ($version === 'v1a' && $kind === 'whpk' && strlen($key) === 32 && strlen($signature) === 64) {
            if (sodium_crypto_sign_verify_detached($signature, $signed, $key)) {
                return true;
            }
        }
    }
    return false;
}
