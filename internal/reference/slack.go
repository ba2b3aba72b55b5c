package reference

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"html/template"
)

// Slack is the message that would be posted, as Slack draws it.
type Slack struct {
	Part
	Attachments []Attachment
	// Body is what is posted.
	Body []byte
}

// Attachment is a message with a bar beside it.
type Attachment struct {
	// Color is what Slack calls it: good, warning, danger; others are ""
	Color string
	// Author, AuthorLink, Title and TitleLink may be "".
	Author, AuthorLink, Title, TitleLink string
	Text                                 template.HTML
	Fields                               []SlackField
}

// SlackField is a value with its title; two short ones share a line.
type SlackField struct {
	Title string
	Value template.HTML
	Short bool
}

// posted is what Slack's webhooks take (https://docs.slack.dev/legacy/legacy-messaging/legacy-secondary-message-attachments),
// as far as our messages use it.
type posted struct {
	Text        string `json:"text"`
	Attachments []struct {
		Color      string `json:"color"`
		AuthorName string `json:"author_name"`
		AuthorLink string `json:"author_link"`
		Title      string `json:"title"`
		TitleLink  string `json:"title_link"`
		Text       string `json:"text"`
		Fields     []struct {
			Title string `json:"title"`
			Value string `json:"value"`
			Short bool   `json:"short"`
		} `json:"fields"`
	} `json:"attachments"`
}

func showSlack(ctx context.Context, a *attempt) *Slack {
	s := &Slack{Part: a.part()}
	if s.Skipped {
		return s
	}
	x, err := a.sent(ctx, slackSettings, false)
	if err == nil {
		s.Body = x.Body
		err = s.read(x.Body)
	}
	if err != nil {
		s.Trouble = err.Error()
	}
	return s
}

func (s *Slack) read(body []byte) error {
	var p posted
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(&p); err != nil {
		return errors.New("what would be posted is no message that can be shown")
	}
	if p.Text != "" {
		s.Attachments = append(s.Attachments, Attachment{Text: drawMrkdwn(p.Text)})
	}
	for i := range p.Attachments {
		in := &p.Attachments[i]
		out := Attachment{
			Author: unescape(in.AuthorName), AuthorLink: webAddress(in.AuthorLink), Title: unescape(in.Title), TitleLink: webAddress(in.TitleLink),
			Text: drawMrkdwn(in.Text),
		}
		switch in.Color {
		case "good", "warning", "danger":
			out.Color = in.Color
		}
		for _, f := range in.Fields {
			out.Fields = append(out.Fields, SlackField{Title: unescape(f.Title), Value: drawMrkdwn(f.Value), Short: f.Short})
		}
		s.Attachments = append(s.Attachments, out)
	}
	return nil
}
