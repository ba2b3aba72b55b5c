package web

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"time"
)

// draftTime is how long what was typed into a form is remembered.
const draftTime = time.Hour

// maxDraft bounds a remembered draft, encoded.
const maxDraft = 96 << 10

// drafts remember the secrets that a person has typed into a form that is shown again, because something else in it was
// wrong or because they looked for a channel. A page never shows a secret, so they travel sealed, in a hidden field,
// and only back to the same session and form. The key lives as long as the process: another node, or the next run,
// asks for the secrets again.
type drafts struct{ aead cipher.AEAD }

func newDrafts() *drafts {
	var key [32]byte
	_, _ = rand.Read(key[:]) // it never fails
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the length is right
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return &drafts{aead}
}

type draft struct {
	Until  time.Time
	Values map[string]string
}

// seal returns the field's value; "" when there is nothing to remember, or too much.
func (d *drafts) seal(values map[string]string, place string, now time.Time) string {
	if len(values) == 0 {
		return ""
	}
	raw, err := json.Marshal(draft{now.Add(draftTime), values})
	if err != nil {
		panic(err) // strings always marshal
	}
	sealed := base64.RawURLEncoding.EncodeToString(d.aead.Seal(nil, nil, raw, []byte(place)))
	if len(sealed) > maxDraft {
		return ""
	}
	return sealed
}

// open returns what was remembered; nil when it was not made here for this place, or too long ago.
func (d *drafts) open(sealed, place string, now time.Time) map[string]string {
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || len(sealed) > maxDraft {
		return nil
	}
	raw, err = d.aead.Open(nil, nil, raw, []byte(place))
	if err != nil {
		return nil
	}
	var out draft
	if json.Unmarshal(raw, &out) != nil || now.After(out.Until) {
		return nil
	}
	return out.Values
}
