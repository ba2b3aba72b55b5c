// Package verification is code for those who receive signed webhooks: how to verify a signature of Standard Webhooks in five
// languages, with nothing but what each brings along. The code is shown in documentation, and run by tests against requests
// that were really signed.
//
// What is signed, and how, is said in https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md:
// "<webhook-id>.<webhook-timestamp>.<body>", by HMAC-SHA256 (v1) or ed25519 (v1a), in as many signatures as there are keys.
package verification

import (
	"embed"
	"strings"
)

// Sample is the code of one language.
type Sample struct {
	// Language is its name for people, Key the one that Markdown knows it by.
	Language, Key string
	// File is what a file with the code is called.
	File string
	Code string
	// Needs says which version it needs, and what else.
	Needs string
}

//go:embed samples
var files embed.FS

// Samples returns the code of every language.
func Samples() []Sample {
	out := []Sample{
		{Language: "Go", Key: "go", File: "verify.go", Needs: "Go 1.19 or newer; the standard library alone."},
		{Language: "JavaScript", Key: "js", File: "verify.mjs", Needs: "Node.js 18 or newer; no packages."},
		{Language: "Python", Key: "python", File: "verify.py", Needs: "Python 3.8 or newer; the standard library alone, and cryptography for ed25519."},
		{Language: "Ruby", Key: "ruby", File: "verify.rb", Needs: "Ruby 3.1 or newer; the standard library alone."},
		{Language: "PHP", Key: "php", File: "verify.php", Needs: "PHP 8 or newer; the extension sodium, which PHP brings along, for ed25519."},
	}
	for i := range out {
		name := "samples/" + out[i].File
		if out[i].Key == "go" {
			name += ".txt" // so that it is not compiled into this program
		}
		code, err := files.ReadFile(name)
		if err != nil {
			panic("verification: " + err.Error()) // it is embedded
		}
		out[i].Code = string(code)
	}
	return out
}

// Markdown returns the code of every language, each below its name.
func Markdown() string {
	var b strings.Builder
	for _, s := range Samples() {
		b.WriteString(s.Language + " (" + strings.TrimSuffix(s.Needs, ".") + "):\n\n```" + s.Key + "\n" + s.Code + "```\n\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}
