// Package signature knows how partners sign what they send: one table of schemes, and the code that checks a call against
// one of them. A scheme says what is signed and how; whoever knows the secrets says which ones may have signed.
package signature

import "time"

// Scheme is how a partner signs its calls.
type Scheme struct {
	// Name is how settings name it, such as "github"; "" is no scheme at all. Title is for people.
	Name, Title string
	// Header holds the signature.
	Header string
	// Algorithm is how it is made.
	Algorithm Algorithm
	// Encoding is how its bytes are spelled.
	Encoding Encoding
	// Prefix stands before it, such as "sha256=".
	Prefix string
	// Content is what is signed, with {body}, {timestamp}, {id}, {method} and {url} replaced; "" is "{body}".
	Content string
	// TimestampHeader, IDHeader hold what Content names; "" where it does not, or where they stand in Header.
	TimestampHeader, IDHeader string
	// Window is how far the timestamp may be from the clock; 0 where there is none.
	Window time.Duration
	// Fields says that Header holds fields such as "t=…,v1=…": Timestamp is the name of the timestamp's, Signature that of
	// the signatures', of which there may be several.
	Fields *Fields
	// SecretEncoding says how the secret's bytes are spelled; "" is as they are.
	SecretEncoding Encoding
	// SecretPrefix is cut off from the secret before it is decoded, such as "whsec_".
	SecretPrefix string
	// Docs is where the partner says so.
	Docs string
}

// Fields names the parts of a signature header that has parts.
type Fields struct {
	Separator, Assign    string
	Timestamp, Signature string
}

// Algorithm is how a signature is made.
type Algorithm string

// The algorithms. Token compares the header with the secret itself.
const (
	HMACSHA256 Algorithm = "hmac-sha256"
	HMACSHA1   Algorithm = "hmac-sha1"
	HMACSHA512 Algorithm = "hmac-sha512"
	Ed25519    Algorithm = "ed25519"
	Token      Algorithm = "token"
	Basic      Algorithm = "basic"
)

// Encoding is how bytes are spelled.
type Encoding string

// The encodings.
const (
	Hex    Encoding = "hex"
	Base64 Encoding = "base64"
	Raw    Encoding = "raw"
)
