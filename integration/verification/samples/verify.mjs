import { createHmac, createPublicKey, timingSafeEqual, verify as verifyKey } from "node:crypto";

// Says whether a request came from whoever has the secret, and just now. The body is a Buffer or a string, as it was received:
// in Express, take express.raw(). A secret begins with whsec_ (HMAC-SHA256); of an ed25519 key you have the public half, whpk_.
export function verify(secret, headers, body) {
  const id = headers["webhook-id"], timestamp = headers["webhook-timestamp"];
  if (!/^\d+$/.test(timestamp) || Math.abs(Date.now() / 1000 - Number(timestamp)) > 300) return false;
  const [kind, encoded] = secret.split("_", 2);
  const key = Buffer.from(encoded ?? "", "base64");
  if (key.length === 0) return false;
  const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), Buffer.from(body)]);
  return (headers["webhook-signature"] ?? "").split(" ").some((part) => {
    const [version, value] = part.split(",", 2);
    const signature = Buffer.from(value ?? "", "base64");
    if (version === "v1" && kind === "whsec") {
      const want = createHmac("sha256", key).update(signed).digest();
      return signature.length === want.length && timingSafeEqual(signature, want); // in constant time
    }
    if (version === "v1a" && kind === "whpk" && key.length === 32) {
      const x = key.toString("base64url");
      return verifyKey(null, signed, createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" }), signature);
    }
    return false;
  });
}
