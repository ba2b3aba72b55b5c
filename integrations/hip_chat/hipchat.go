// Package hipchat sends notifications to a room of HipChat, or to anything that answers like version 2 of its API.
package hipchat

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// Key names the integration in the API.
const Key = "hip_chat"

// The limits of the API, in characters.
const (
	maxMessage = 10_000
	maxFrom    = 64
)

// maxAnswer is how much of an answer is looked at; errors are some hundred bytes.
const maxAnswer = 8 << 10

// HipChat is the integration.
type HipChat struct{}

// New returns the integration.
func New() *HipChat { return &HipChat{} }

// Settings are a link's settings.
type Settings struct {
	RoomID    string             `json:"room_id"`
	RoomToken integration.Secret `json:"room_token"`
	From      string             `json:"from"`
	BaseURL   string             `json:"base_url"`
}

// Definition declares the integration.
func (*HipChat) Definition() *integration.Definition {
	return &integration.Definition{
		Key:         Key,
		Title:       "HipChat",
		Category:    "chat",
		Description: "Posts each event as a notification with a card into a HipChat room.",
		Docs:        docs,
		Settings: integration.Spec{
			{
				Key: "room_id", Title: "HipChat Room id", Type: integration.TypeString, Required: true, Example: "1234567",
				Help: "The room's number, or its name.",
			},
			{
				Key: "room_token", Title: "HipChat Room Notification Token", Type: integration.TypeString, Required: true, Secret: true,
				Help: "Made in the room's settings, below Tokens; it may send notifications and nothing else.",
			},
			{
				Key: "from", Title: "Name of the sender", Type: integration.TypeString, Default: "Patchbay", Check: checkFrom,
				Help: "Stands beside the name of the token's owner.",
			},
			{
				Key: "base_url", Title: "Address of HipChat", Type: integration.TypeURL, Target: true,
				Default: "https://api.hipchat.com", Check: integration.CheckBaseURL,
				Help: "Only for a server of your own.",
			},
		},
		Decode: integration.Into[Settings],
	}
}

func checkFrom(value any) error {
	if from, _ := value.(string); len([]rune(from)) > maxFrom {
		return errors.New("must not be longer than " + strconv.Itoa(maxFrom) + " characters")
	}
	return nil
}

// ShortName describes a link in a few words.
func (*HipChat) ShortName(settings any) string { return "HipChat " + settings.(*Settings).RoomID }

// Destination says where a link leads.
func (*HipChat) Destination(settings any) string { return "room " + settings.(*Settings).RoomID }

// Target names the room.
func (*HipChat) Target(settings any) string {
	s := settings.(*Settings)
	return strings.ToLower(strings.TrimRight(s.BaseURL, "/")) + " " + s.RoomID
}

// Send posts one notification.
func (*HipChat) Send(ctx context.Context, d *integration.Delivery) integration.Result {
	s := d.Settings.(*Settings)
	body := []byte(d.Body)
	if body == nil {
		msg, err := d.Message()
		if err != nil {
			return integration.Unrenderable(err)
		}
		body = render(msg, s.From, cardID(d))
	}
	resp, err := d.Env.HTTP.Do(ctx, &integration.Request{
		Method: "POST",
		URL:    integration.JoinURL(s.BaseURL, "v2", "room", s.RoomID, "notification"),
		Header: integration.Header{
			{Name: "Authorization", Value: "Bearer " + s.RoomToken.Reveal()},
			{Name: "Content-Type", Value: "application/json"},
		},
		Body:  body,
		Limit: maxAnswer,
	})
	if err != nil {
		return integration.Unreachable("HipChat", err)
	}
	return verdict(d, resp)
}

// cardID names the card. A client that is sent a card with an id that it has shows it once.
func cardID(d *integration.Delivery) string {
	if d.Event == nil {
		return "patchbay"
	}
	return d.Event.Subject().String()
}

// verdict reads an answer.
func verdict(d *integration.Delivery, resp *integration.Response) integration.Result {
	switch resp.Status {
	case 401, 403:
		return integration.UserError("HipChat refuses the token (%d): check the setting room_token; it needs to be a notification token of this room", resp.Status).With(resp)
	case 404:
		return integration.UserError("HipChat does not know the room (404): check the setting room_id").With(resp)
	case 429:
		r := integration.Classify("HipChat", resp)
		if r.RetryAfter == 0 {
			r.RetryAfter = untilReset(d, resp)
		}
		return r
	}
	return integration.Classify("HipChat", resp)
}

// maxReset bounds how long an answer may make us wait: HipChat counts per five minutes.
const maxReset = time.Hour

// untilReset reads when HipChat's count of requests begins anew, in seconds of Unix time.
func untilReset(d *integration.Delivery, resp *integration.Response) time.Duration {
	for _, name := range []string{"X-Ratelimit-Reset", "X-FloodControl-Reset"} {
		reset, err := strconv.ParseInt(resp.Header.Get(name), 10, 64)
		if err != nil {
			continue
		}
		if wait := time.Unix(reset, 0).Sub(d.Env.Now()); wait > 0 {
			return min(wait, maxReset)
		}
	}
	return 0
}

// color is that of the notification: green or red, and yellow for warnings.
func color(s patchbay.Severity) string {
	switch s {
	case patchbay.SeverityError, patchbay.SeverityCritical:
		return "red"
	case patchbay.SeverityWarning:
		return "yellow"
	}
	return "green"
}
