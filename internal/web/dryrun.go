package web

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/catalog"
	"github.com/patchbay/patchbay/internal/ingest"
	"github.com/patchbay/patchbay/internal/links"
)

const (
	// scopesOffered bounds the scopes that the form suggests, cardsShown the links that a dry run shows the requests of, and
	// othersShown those that it says do not match.
	scopesOffered = 250
	cardsShown    = 40
	othersShown   = 100
)

// dryRun is what would happen to an event.
type dryRun struct {
	Deliveries    int
	Sent, Held    []dryRunCard
	Broken        []dryRunCard
	Others        []explained
	Unsaid, Extra int
}

// dryRunCard is a link and the request that it would make.
type dryRunCard struct {
	explained
	Request *ingest.DryRunRequest
	Headers [][2]string
	Body    *jsonPart
}

// tryDraft is the dry run, if one is wanted, and otherwise a look at the payload alone.
func (c *call) tryDraft(body *playgroundPage, t *catalog.Type, broken bool) {
	if !body.Tried {
		return
	}
	var err error
	if !body.May {
		if details := t.Validate(body.Payload); len(details) > 0 {
			err = &patchbay.Error{Code: patchbay.CodeInvalidRequest, Message: details[0].Message, Details: details}
		}
	} else {
		var raw []byte
		if raw, err = body.body(); err == nil {
			var tried *ingest.DryRun
			if tried, err = c.o.Playground.DryRun(c.r.Context(), c.who, raw); err == nil && !broken {
				body.Result = c.drawDryRun(tried)
			}
		}
	}
	if err != nil {
		c.explainDraft(body, err)
	}
}

// explainDraft puts what is wrong to the fields that it is about.
func (c *call) explainDraft(body *playgroundPage, err error) {
	_, text, details, _ := c.explain(err)
	var e *patchbay.Error
	if len(details) == 0 {
		field := ""
		if errors.As(err, &e) && e.Code == patchbay.CodeForbidden {
			field = "scope"
		}
		details = []patchbay.Detail{{Path: field, Message: text}}
	}
	for _, d := range details {
		line := problemLine{Text: sentence(d.Message)}
		if d.Path != "" {
			line.Text = d.Path + " " + strings.TrimSuffix(d.Message, ".") + "."
		}
		switch first, _, _ := strings.Cut(d.Path, "["); {
		case d.Path == "payload" || strings.HasPrefix(d.Path, "payload.") || strings.HasPrefix(d.Path, "payload["):
			line.Href = "#payload"
			if body.Form != nil {
				if id := body.Form.Explain(d.Path, sentence(d.Message)); id != "" {
					line.Href = "#" + id
				}
			}
		case slices.Contains([]string{"scope", "also", "actor", "occurred_at", "id"}, first):
			line.Href, body.Errors[first] = "#"+first, sentence(d.Message)
		}
		body.Problems = append(body.Problems, line)
	}
}

// drawDryRun sorts links by what would become of the event at them.
func (c *call) drawDryRun(d *ingest.DryRun) *dryRun {
	out := &dryRun{Deliveries: d.Deliveries}
	cards := 0
	for i := range d.Links {
		l := &d.Links[i]
		if !l.Matched && len(out.Others) == othersShown {
			out.Unsaid++
			continue
		}
		if l.Matched && cards == cardsShown {
			out.Extra++
			continue
		}
		x := c.explainedLink(*l)
		if !l.Matched {
			out.Others = append(out.Others, x)
			continue
		}
		cards++
		card := dryRunCard{explained: x, Request: l.Request}
		if r := l.Request; r != nil {
			for key, value := range r.Headers {
				card.Headers = append(card.Headers, [2]string{key, value})
			}
			slices.SortFunc(card.Headers, func(a, b [2]string) int { return cmp.Compare(a[0], b[0]) })
			card.Body = jsonOf("request-"+strconv.Itoa(cards), "Body of the request", "", []byte(r.Body))
		}
		switch {
		case l.Error != "":
			out.Broken = append(out.Broken, card)
		case l.Held:
			out.Held = append(out.Held, card)
		default:
			out.Sent = append(out.Sent, card)
		}
	}
	return out
}

// knownScopes are scopes that links are in, for the form to suggest.
func (c *call) knownScopes() []string {
	views, _, err := c.o.Links.List(c.r.Context(), c.who, links.ListFilter{Limit: scopesOffered})
	if err != nil {
		return nil // a form without suggestions is a form
	}
	var out []string
	for i := range views {
		if s := string(views[i].Scope); s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}
