package web

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/patchbay/patchbay/internal/store"
)

// draftTime is how long what was typed into a form is remembered.
const draftTime = time.Hour

// maxDraft bounds a remembered draft, encoded.
const maxDraft = 96 << 10

// drafts remember the secrets that a person has typed into a form that is shown again, because something else in it was
// wrong or because they looked for a channel. A page never shows a secret, so they travel sealed, in a hidden field,
// and only back to the same session and form. They are sealed as secrets in the database are, so that any node, and the
// next run, can go on with the form.
type drafts struct {
	sealer store.Sealer
	log    *slog.Logger
}

type draft struct {
	Until  time.Time
	Values map[string]string
}

// at is where a draft stands. No table is called so: nothing that is sealed in the database opens as a draft, and no
// draft there.
func (d *drafts) at(place string) store.SealPlace {
	return store.SealPlace{Table: "form draft", Row: place, Column: "secrets"}
}

// seal returns the field's value; "" when there is nothing to remember, or too much, or it cannot be sealed now: then
// whoever is in front of the form is asked again.
func (d *drafts) seal(ctx context.Context, values map[string]string, place string, now time.Time) string {
	if len(values) == 0 {
		return ""
	}
	raw, err := json.Marshal(draft{now.Add(draftTime), values})
	if err != nil {
		panic(err) // strings always marshal
	}
	return d.hide(ctx, raw, place)
}

// hide seals what a browser carries from one page to the next; "" when it cannot.
func (d *drafts) hide(ctx context.Context, raw []byte, place string) string {
	hidden, err := d.sealer.Seal(ctx, d.at(place), raw)
	if err != nil {
		d.log.WarnContext(ctx, "secrets cannot be sealed for the next page", slog.Any("error", err))
		return ""
	}
	sealed := base64.RawURLEncoding.EncodeToString(hidden)
	if len(sealed) > maxDraft {
		return ""
	}
	return sealed
}

// reveal returns what hide hid; nil when it was not hidden for this place.
func (d *drafts) reveal(ctx context.Context, sealed, place string) []byte {
	if sealed == "" || len(sealed) > maxDraft {
		return nil
	}
	hidden, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return nil
	}
	raw, err := d.sealer.Open(ctx, d.at(place), hidden)
	if err != nil {
		return nil
	}
	return raw
}

// open returns what was remembered; nil when it was not made for this place, or too long ago.
func (d *drafts) open(ctx context.Context, sealed, place string, now time.Time) map[string]string {
	var out draft
	if json.Unmarshal(d.reveal(ctx, sealed, place), &out) != nil || now.After(out.Until) {
		return nil
	}
	return out.Values
}

// draftPlace is where drafts belong: they come back to the session and the form in which they were typed, and nowhere else.
func (f *linkForm) draftPlace() string {
	place := f.who.Session.String() + " " + f.who.Name + " " + f.key
	if f.view != nil {
		place += " " + f.view.ID.String()
	}
	return place
}

// sealed seals the secrets that were typed so far.
func (f *linkForm) sealed() string {
	return f.Site.drafts.seal(f.r.Context(), f.drafts, f.draftPlace(), f.o.Now())
}
