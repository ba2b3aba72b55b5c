package connect

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// maxReason bounds what is kept of why something failed.
const maxReason = 500

func notFound(id patchbay.ConnectionID) error {
	return patchbay.Errorf(patchbay.CodeNotFound, "there is no connection %s", id)
}

// unavailable wraps an error of the store.
func unavailable(doing string, err error) error {
	if errors.Is(err, store.ErrUnavailable) {
		return &patchbay.Error{Code: patchbay.CodeUnavailable, Message: "the database cannot take writes at the moment; try again in a few seconds", RetryAfter: 5, Err: err}
	}
	return patchbay.Internal(doing, err)
}

// titleOf is what people call a connection.
func titleOf(con *patchbay.Connection) string {
	switch {
	case con.Name != "":
		return con.Name
	case con.Account.Name != "":
		return con.Account.Name
	case con.Account.ID != "":
		return con.Account.ID
	}
	return con.ID.String()
}

// accountName is what people call an account.
func accountName(a *patchbay.Account) string {
	switch a.Name {
	case "", a.ID:
		return a.ID
	}
	return fmt.Sprintf("%s (%s)", a.Name, a.ID)
}

// version identifies what people have changed of a connection.
func version(updated time.Time) string { return strconv.FormatInt(updated.UnixMilli(), 36) }

// fingerprint identifies credentials without holding them.
type fingerprint [sha256.Size]byte

func fingerprintOf(c *patchbay.Credentials) fingerprint {
	h := sha256.New()
	for _, part := range append([]string{c.Access.Reveal(), c.TokenSecret.Reveal()}, sortedValues(c.Extra)...) {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return fingerprint(h.Sum(nil))
}

// sentence makes what a partner or an integration said fit to be kept and shown: one line, valid, and not long.
func sentence(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, " "))
	text = strings.Join(strings.Fields(text), " ")
	return clipTo(text, maxReason)
}

func clip(s string) string { return clipTo(s, 64) }

func clipTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// sortedValues are the values of a map, in the order of its keys.
func sortedValues(m map[string]patchbay.Secret) []string {
	out := make([]string, 0, 2*len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k, m[k].Reveal())
	}
	return out
}
