package hipchat

import (
	"bytes"
	"cmp"
	"encoding/json"
	"html"
	"slices"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/markup"
)

// What a card holds at most; the API names no limits but that of the title.
const (
	maxCardTitle   = 500
	maxDescription = 2000
	maxAttributes  = 50
	maxLabel       = 200
	maxValue       = 1000
	maxLinks       = 10
)

// notification is the body of a call.
type notification struct {
	From          string `json:"from,omitempty"`
	Color         string `json:"color"`
	Notify        bool   `json:"notify"`
	MessageFormat string `json:"message_format"`
	Message       string `json:"message"`
	Card          card   `json:"card"`
}

// card is shown in the place of the message by clients that know cards.
type card struct {
	Style       string       `json:"style"`
	Format      string       `json:"format"`
	ID          string       `json:"id"`
	Title       string       `json:"title"`
	URL         string       `json:"url,omitempty"`
	Description *description `json:"description,omitempty"`
	Attributes  []attribute  `json:"attributes,omitempty"`
}

type description struct {
	Value  string `json:"value"`
	Format string `json:"format"`
}

type attribute struct {
	Label string `json:"label"`
	Value value  `json:"value"`
}

type value struct {
	Label string `json:"label"`
	URL   string `json:"url,omitempty"`
}

// render makes the body of a notification.
func render(msg *integration.Message, from, id string) []byte {
	text := markup.Parse(msg.Text)
	out := notification{
		From: from, Color: color(msg.Severity), Notify: true, MessageFormat: "html",
		Message: message(msg, text),
		Card:    cardOf(msg, text, id),
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(&out); err != nil {
		panic("hip_chat: a body of strings cannot be encoded: " + err.Error())
	}
	return bytes.TrimRight(buf.Bytes(), "\n")
}

// message draws what clients without cards show: the title where the text does not say it, the text, and the links to
// where the text does not lead.
func message(msg *integration.Message, text markup.Doc) string {
	title := html.EscapeString(markup.Clip(markup.Line(msg.Title), maxCardTitle))
	if text.Empty() {
		return cmp.Or(title+links(msg, nil), "(no text)") // an empty message is refused
	}
	if !text.Says(msg.Title) {
		title = "<b>" + title + "</b><br>"
	} else {
		title = ""
	}
	tail := links(msg, text.Links())
	return title + markup.Fit(text, maxMessage-len(title)-len(tail), markup.Doc.BasicHTML) + tail
}

func links(msg *integration.Message, there []string) string {
	var out string
	for _, link := range msg.Links[:min(len(msg.Links), maxLinks)] {
		address, ok := markup.Address(link.URL)
		if !ok || slices.Contains(there, address) {
			continue
		}
		there = append(there, address)
		next := "<br>" + markup.Inline(markup.Link(markup.Clip(link.Title, maxLabel), address)).BasicHTML()
		if len(out)+len(next) > maxMessage/4 { // the text comes first
			break
		}
		out += next
	}
	return out
}

func cardOf(msg *integration.Message, text markup.Doc, id string) card {
	c := card{Style: "application", Format: "medium", ID: id, Title: markup.Clip(markup.Line(msg.Title), maxCardTitle)}
	if !text.Empty() {
		c.Description = &description{Value: markup.Fit(text, maxDescription, markup.Doc.BasicHTML), Format: "html"}
	}
	if c.Title == "" {
		c.Title = cmp.Or(markup.Clip(markup.Line(text.Plain()), maxCardTitle), "(no title)")
	}
	c.URL = address(msg, text)
	for _, f := range msg.Fields[:min(len(msg.Fields), maxAttributes)] {
		if a, ok := attributeOf(f); ok {
			c.Attributes = append(c.Attributes, a)
		}
	}
	return c
}

// address is where the card leads: the message's first link, or the first in its text.
func address(msg *integration.Message, text markup.Doc) string {
	for _, link := range msg.Links {
		if a, ok := markup.Address(link.URL); ok {
			return a
		}
	}
	if all := text.Links(); len(all) > 0 {
		return all[0]
	}
	return ""
}

// attributeOf draws a field. A value of an attribute is plain text with one link at most.
func attributeOf(f patchbay.Field) (attribute, bool) {
	doc := markup.Inline(f.Value)
	if doc.Empty() {
		return attribute{}, false
	}
	a := attribute{Label: markup.Clip(markup.Line(f.Title), maxLabel), Value: value{Label: markup.Clip(markup.Line(doc.Plain()), maxValue)}}
	if all := doc.Links(); len(all) > 0 {
		a.Value.URL = all[0]
	}
	return a, true
}
