require "openssl"

# Says whether a request came from whoever has the secret, and just now. The body is the text that was received, before it is
# parsed: request.raw_post in Rails. A secret begins with whsec_ (HMAC-SHA256); of an ed25519 key you have the public half, whpk_.
def verify(secret, headers, body)
  id, timestamp = headers["webhook-id"].to_s, headers["webhook-timestamp"].to_s
  return false unless timestamp.match?(/\A\d+\z/) && (Time.now.to_i - timestamp.to_i).abs <= 300

  kind, encoded = secret.split("_", 2)
  key = encoded.to_s.unpack1("m")
  return false if key.empty?

  signed = "#{id}.#{timestamp}.".b + body.b
  headers["webhook-signature"].to_s.split.any? do |part|
    version, value = part.split(",", 2)
    signature = value.to_s.unpack1("m")
    if version == "v1" && kind == "whsec"
      OpenSSL.secure_compare(signature, OpenSSL::HMAC.digest("SHA256", key, signed)) # in constant time
    elsif version == "v1a" && kind == "whpk" && key.bytesize == 32
      # A public key as RFC 8410 writes it: twelve bytes that say ed25519, and the key.
      OpenSSL::PKey.read(["302a300506032b6570032100"].pack("H*") + key).verify(nil, signature, signed)
    end
  end
rescue OpenSSL::PKey::PKeyError
  false
end
