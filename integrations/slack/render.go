package slack

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/markup"
)

// The limits of a message. Slack takes bodies of 35,000 bytes and folds long texts; the others keep one part from
// pushing out the rest.
const (
	maxBody     = 35_000
	maxFallback = 1000
	maxTitle    = 1024
	maxText     = 8000
	maxFields   = 50
	maxLabel    = 300 // the title of a field
	maxValue    = 2000
	maxLinks    = 10
	maxAddress  = 2048
)

// body is what is posted.
type body struct {
	Channel     string       `json:"channel,omitempty"`
	Username    string       `json:"username,omitempty"`
	IconEmoji   string       `json:"icon_emoji,omitempty"`
	IconURL     string       `json:"icon_url,omitempty"`
	Attachments []attachment `json:"attachments"`
}

// attachment is a message. Slack reads mrkdwn in text and fields only if mrkdwn_in says so; links and mentions it
// reads everywhere, so every string is escaped.
type attachment struct {
	Fallback   string   `json:"fallback"`
	Color      string   `json:"color"`
	AuthorName string   `json:"author_name,omitempty"`
	AuthorLink string   `json:"author_link,omitempty"`
	AuthorIcon string   `json:"author_icon,omitempty"`
	Title      string   `json:"title,omitempty"`
	Text       string   `json:"text"`
	Fields     []field  `json:"fields,omitempty"`
	MarkdownIn []string `json:"mrkdwn_in"`
}

type field struct {
	Title string `json:"title"`
	Value string `json:"value"`
	Short bool   `json:"short"`
}

// render makes the body of a message. One that is too long is made again with less room for each part.
func render(msg *integration.Message, s *Settings) *body {
	d := draft{msg: msg, text: markup.Parse(msg.Text)}
	for _, f := range msg.Fields[:min(len(msg.Fields), maxFields)] {
		d.values = append(d.values, markup.Inline(f.Value))
	}
	for share := 1; ; share *= 2 {
		out := &body{
			Channel: parseChannel(s.Channel).title, Username: s.Username, IconEmoji: s.IconEmoji, IconURL: icon(s),
			Attachments: []attachment{d.attach(share)},
		}
		if len(encode(out)) <= maxBody || share >= 64 {
			return out
		}
	}
}

// draft is a message whose Markdown has been read.
type draft struct {
	msg    *integration.Message
	text   markup.Doc
	values []markup.Doc // of the first fields
}

// icon returns the picture of the sender, unless an emoji takes its place.
func icon(s *Settings) string {
	if s.IconEmoji != "" {
		return ""
	}
	return s.IconURL
}

// encode writes JSON without escaping <, > and &, which would take six bytes each.
func encode(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("slack: a body that cannot be encoded: " + err.Error())
	}
	return bytes.TrimRight(buf.Bytes(), "\n")
}

// attach draws the message. Each part gets a share of its usual room.
func (d *draft) attach(share int) attachment {
	a := attachment{
		Color:      color(d.msg.Severity),
		Text:       markup.Fit(d.text, maxText/share, markup.Doc.Slack),
		Fields:     d.fields(share),
		MarkdownIn: []string{"text", "fields"},
	}
	said := d.text.Plain()
	switch title := markup.Line(d.msg.Title); {
	case d.text.Empty():
		a.Text, said = escape(title, maxTitle/share), title
	case !d.text.Says(title):
		a.Title, said = escape(title, maxTitle/share), title+": "+said
	}
	a.Fallback = escape(said, maxFallback/share)
	if links := d.links(share); links != "" {
		a.Text += "\n" + links
	}
	if actor := d.msg.Actor; actor != nil {
		a.AuthorName = escape(actor.Name, maxLabel/share)
		a.AuthorLink = address(actor.URL)
		a.AuthorIcon = address(actor.Avatar)
	}
	return a
}

// color is that of the bar beside the message.
func color(s patchbay.Severity) string {
	switch s {
	case patchbay.SeverityWarning:
		return "warning"
	case patchbay.SeverityError, patchbay.SeverityCritical:
		return "danger"
	}
	return "good"
}

// escape writes plain text of at most max characters, in one line.
func escape(text string, max int) string {
	text = markup.Clip(markup.Line(text), max)
	return markup.Fit(markup.Inline(markup.Escape(text)), max, markup.Doc.Slack)
}

func (d *draft) fields(share int) []field {
	var out []field
	for i, value := range d.values[:min(len(d.values), maxFields/share+1)] {
		f := &d.msg.Fields[i]
		if text := markup.Fit(value, maxValue/share, markup.Doc.Slack); text != "" {
			out = append(out, field{Title: escape(f.Title, maxLabel/share), Value: text, Short: f.Short})
		}
	}
	return out
}

// links draws the message's links to where neither its text nor a field leads.
func (d *draft) links(share int) string {
	if len(d.msg.Links) == 0 {
		return ""
	}
	there := d.text.Links()
	for _, value := range d.values {
		there = append(there, value.Links()...)
	}
	var out []string
	for _, link := range d.msg.Links[:min(len(d.msg.Links), maxLinks/share)] {
		to := address(link.URL)
		if to == "" || slices.Contains(there, to) {
			continue
		}
		there = append(there, to)
		out = append(out, markup.Slack(markup.Link(markup.Clip(link.Title, maxLabel), to)))
	}
	return strings.Join(out, " · ")
}

// address returns what may be linked to, or "".
func address(s string) string {
	if a, ok := markup.Address(s); ok && len(a) <= maxAddress {
		return a
	}
	return ""
}
