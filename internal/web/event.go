package web

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration/markup"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/ingest"
	"github.com/patchbay/patchbay/internal/stream"
)

// eventPage is one event.
type eventPage struct {
	ID        patchbay.EventID
	Event     eventRow
	ActorName string
	SourceIn  string
	// Erased is when what it says was removed; zero when it was not.
	Erased  time.Time
	Message *messagePart
	Payload *jsonPart
	// Matched are the links that match it now, Others all the rest; Unknown says that its type has left the catalog, and
	// Unsaid how many links are not shown.
	Matched, Others []explained
	Unknown         bool
	Unsaid          int
	Deliveries      []eventDelivery
	Replays         []patchbay.Event
	// Live is the address of what happens to its deliveries, "" once all of them have ended.
	Live string
	// Replay says that the viewer may send it again, Again that another one can be made of it in the playground.
	Replay, Again bool
}

// explained is a link and why it matches an event, or why not.
type explained struct {
	ingest.DryRunLink
	Name, Edit string
}

func (c *call) eventID() (id patchbay.EventID, err error) {
	if err := c.forOperators(); err != nil {
		return 0, err
	}
	if c.o.Events == nil {
		return 0, notKept("events")
	}
	if id.UnmarshalText([]byte(c.r.PathValue("id"))) != nil || id == 0 {
		return 0, patchbay.Errorf(patchbay.CodeNotFound, "there is no event %q", clip(c.r.PathValue("id")))
	}
	return id, nil
}

func (c *call) event() error {
	id, err := c.eventID()
	if err != nil {
		return err
	}
	v, err := c.o.Events.Inspect(c.r.Context(), c.who, id)
	if err != nil {
		return err
	}
	body := &eventPage{
		ID: v.ID, Event: c.eventRow(&v.Event), Erased: v.Erased, Unknown: v.Unknown, Unsaid: v.Unsaid, Replays: v.Replays,
		ActorName: actorName(v.Actor), SourceIn: sourceWords[v.Source.Kind],
		Replay: c.who.May(access.Manage) && c.who.Sees(v.Scope) && v.Erased.IsZero() && !v.Unknown,
	}
	body.Payload = jsonOf("payload", "Payload", "/events/"+v.ID.String()+"/payload.json", v.Payload)
	body.Again = c.o.Playground != nil && v.Erased.IsZero() && !v.Unknown && !strings.HasPrefix(v.Type, patchbay.SystemPrefix)
	if v.Message != nil {
		body.Message = drawMessage(v.Message)
	}
	for i := range v.Deliveries {
		body.Deliveries = append(body.Deliveries, c.eventDelivery(&v.Deliveries[i]))
		if !v.Deliveries[i].State.Final() && v.Deliveries[i].Event == v.ID && c.o.Stream != nil {
			body.Live = "/events/" + v.ID.String() + "/live"
		}
	}
	for _, l := range v.Links {
		x := c.explainedLink(l)
		if l.Matched {
			body.Matched = append(body.Matched, x)
		} else {
			body.Others = append(body.Others, x)
		}
	}
	return c.show(http.StatusOK, "event", &page{Title: body.Event.TypeTitle + " " + v.ID.String(), Nav: "events", Body: body})
}

// sourceWords say how an event came in.
var sourceWords = map[string]string{
	patchbay.SourceAPI: "Sent to the API", patchbay.SourceInline: "Sent to the API, with its integrations in the call",
	patchbay.SourceHook: "A partner's call", patchbay.SourceSystem: "Raised by Patchbay", patchbay.SourceTest: "A test",
	patchbay.SourceNATS: "A message of NATS", patchbay.SourceOutbox: "A row of the outbox",
}

func actorName(raw json.RawMessage) string {
	var a struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(raw, &a) != nil {
		return ""
	}
	return a.Name
}

// linkAddress is the page of a link's settings.
func linkAddress(integration string, id patchbay.LinkID) string {
	return link("/integrations/"+integration+"/link", "link", id.String())
}

// explainedLink names a link, as far as the viewer may know it.
func (c *call) explainedLink(l ingest.DryRunLink) explained {
	x := explained{DryRunLink: l, Name: c.titleOf(l.Integration)}
	if c.who.Sees(l.Scope) {
		x.Name, x.Edit = c.linkName(l.Link, l.Integration), "/links/"+l.Link.String()
	}
	return x
}

// linkName is how a link is called; its identifier when it is gone.
func (c *call) linkName(id patchbay.LinkID, integration string) string {
	if v, err := c.o.Links.Get(c.r.Context(), c.who, id); err == nil {
		return v.ShortName
	}
	return c.titleOf(integration) + " " + id.String()
}

// payload is the payload as a file.
func (c *call) payload() error {
	id, err := c.eventID()
	if err != nil {
		return err
	}
	v, err := c.o.Events.Inspect(c.r.Context(), c.who, id)
	if err != nil {
		return err
	}
	c.secure()
	h := c.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Disposition", `attachment; filename="`+id.String()+`.json"`)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(v.Payload)))
	_, _ = c.w.Write(v.Payload) // an error means that the browser is gone
	return nil
}

// eventDelivery is how a delivery stands on its event's page: Answer says how it went last.
type eventDelivery struct {
	deliveryRow
	Answer, Code, CodeKind string
}

func (c *call) eventDelivery(v *deliver.View) eventDelivery {
	row := eventDelivery{deliveryRow: c.deliveryRow(v), Answer: sentence(v.Reason)}
	if n := len(v.Attempts); n > 0 {
		last := &v.Attempts[n-1]
		row.Answer = answerWords(last, v.State)
		if last.ResponseCode != nil {
			row.Code, row.CodeKind = strconv.Itoa(*last.ResponseCode), verdictWords[last.Verdict].kind
		}
	}
	return row
}

// eventLive tells the page that something has happened to its event's deliveries.
func (c *call) eventLive() error {
	id, err := c.eventID()
	if err != nil {
		return err
	}
	if _, err := c.o.Events.Inspect(c.r.Context(), c.who, id); err != nil {
		return err
	}
	return c.watch(stream.Filter{Kinds: []string{stream.KindAttempt, stream.KindDelivery}, Event: id})
}

// replayPage asks whether an event should be sent again.
type replayPage struct {
	ID      patchbay.EventID
	Title   string
	Matched []explained
}

func (c *call) confirmReplay() error {
	id, err := c.eventID()
	if err != nil {
		return err
	}
	if err := c.who.Require(access.Manage); err != nil {
		return err
	}
	v, err := c.o.Events.Inspect(c.r.Context(), c.who, id)
	if err != nil {
		return err
	}
	body := &replayPage{ID: id, Title: c.eventRow(&v.Event).TypeTitle}
	for _, l := range v.Links {
		if l.Matched {
			body.Matched = append(body.Matched, explained{DryRunLink: l, Name: c.linkName(l.Link, l.Integration)})
		}
	}
	return c.show(http.StatusOK, "replay", &page{Title: "Replay " + id.String(), Nav: "events", Narrow: true, Body: body})
}

func (c *call) replayEvent() error {
	id, err := c.eventID()
	if err != nil {
		return err
	}
	v, err := c.o.Events.Replay(c.r.Context(), c.who, id)
	if err != nil {
		return err
	}
	var newest patchbay.EventID
	for i := range v.Deliveries {
		newest = max(newest, v.Deliveries[i].Event)
	}
	n := 0
	for i := range v.Deliveries {
		if v.Deliveries[i].Event == newest && newest != id {
			n++
		}
	}
	c.leave(&note{Kind: "ok", Title: "It was sent again.", Text: "What came of it is under Deliveries: the newest replay made " + count(n, "delivery", "deliveries") + "."})
	return c.redirect("/events/" + v.ID.String())
}

// deliveryRow is how a delivery stands in a list.
type deliveryRow struct {
	*deliver.View
	Kind, Word string
	Name, Edit string
	// Sees says that the viewer sees the link, Edit that there is a page of it.
	Sees bool
}

// deliveryWords are the words for the states of a delivery, and their colours.
var deliveryWords = map[patchbay.DeliveryState][2]string{
	patchbay.DeliveryPending:   {"accent", "Pending"},
	patchbay.DeliveryHeld:      {"warn", "Held"},
	patchbay.DeliverySucceeded: {"ok", "Delivered"},
	patchbay.DeliveryFailed:    {"bad", "Failed"},
	patchbay.DeliveryCancelled: {"", "Cancelled"},
	patchbay.DeliverySkipped:   {"", "Skipped"},
}

func (c *call) deliveryRow(v *deliver.View) deliveryRow {
	w := deliveryWords[v.State]
	row := deliveryRow{View: v, Kind: w[0], Word: w[1], Name: c.titleOf(v.Integration)}
	if v.State == patchbay.DeliveryPending && v.AttemptCount > 0 {
		row.Kind, row.Word = "warn", "To be retried"
	}
	if v.Link != nil {
		if l, err := c.o.Links.Get(c.r.Context(), c.who, *v.Link); err == nil {
			row.Name, row.Edit, row.Sees = markup.Clip(l.ShortName, 80), c.linkEdit(v.Integration, *v.Link), c.who.Sees(l.Scope)
		}
	}
	return row
}
