package web

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/jobs"
	"github.com/patchbay/patchbay/internal/stream"
)

// deliveryPage is one delivery.
type deliveryPage struct {
	Row      deliveryRow
	Title    string
	At       time.Time
	Verdict  string
	Operator bool
	Link     *linkName
	// Account is what the link's connection is called, AccountHref its page.
	Account, AccountHref string
	Steps                []timelineStep
	// Next says what happens next, Due when; Left how many retries there are after that.
	Next, Left string
	Due        *time.Time
	// Retry is what trying again is called, "" when the viewer cannot; AskRetry that it is asked first.
	Retry    string
	AskRetry bool
	Cancel   bool
	// Like is the page that asks about all that failed over the same link.
	Like string
	// Live is the address of the stream of what happens to it; "" when nothing more does by itself.
	Live string
}

// timelineStep is what stands on the line: an attempt, or a decision without one.
type timelineStep struct {
	// Pause is how long nothing happened before it.
	Pause string
	At    time.Time
	Kind  string
	Title string
	// Words says what it means, Follows what came of it.
	Words, Follows string
	Attempt        *attemptPart
}

// attemptPart is what was sent and answered.
type attemptPart struct {
	ID     string
	Number int
	// Status is the code with its name, Took how long it took, and Share that as a part of the longest of them.
	Status, Took, Share string
	Request             *deliver.RequestView
	Headers             []headerLine
	Body, Reply         *jsonPart
	BodyNote            string
	// Withheld says that the viewer may not see what was sent and answered.
	Withheld bool
}

type headerLine struct{ Name, Value string }

// verdictWord is a verdict as a colour, a word, and what it means.
type verdictWord struct{ kind, word, means string }

var verdictWords = map[patchbay.Verdict]verdictWord{
	patchbay.VerdictDelivered:   {"ok", "Delivered", "has it."},
	patchbay.VerdictRetry:       {"warn", "Did not go through", "did not take it, but may take it later."},
	patchbay.VerdictRejected:    {"bad", "Refused", "refused it, and trying again would not help."},
	patchbay.VerdictAuthExpired: {"bad", "Access refused", "did not accept the account or its credentials."},
}

func (c *call) deliveryID() (id patchbay.DeliveryID, err error) {
	if c.o.Deliveries == nil {
		return 0, notKept("deliveries")
	}
	if id.UnmarshalText([]byte(c.r.PathValue("id"))) != nil || id == 0 {
		return 0, patchbay.Errorf(patchbay.CodeNotFound, "there is no delivery %q", clip(c.r.PathValue("id")))
	}
	return id, nil
}

func (c *call) inspectDelivery() (*deliver.Inspection, error) {
	id, err := c.deliveryID()
	if err != nil {
		return nil, err
	}
	return c.o.Deliveries.Inspect(c.r.Context(), c.who, id)
}

func (c *call) delivery() error {
	v, err := c.inspectDelivery()
	if err != nil {
		return err
	}
	body := &deliveryPage{
		Row: c.deliveryRow(&v.View), Title: c.typeTitle(v.EventType), At: v.ID.Time(), Verdict: c.standing(v), Operator: !c.who.Portal,
		Due: v.NextAttemptAt, Steps: c.timeline(v),
	}
	if err := c.deliveryLink(body, v); err != nil {
		return err
	}
	c.whatNext(body, v)
	c.deliveryActs(body, v)
	if c.o.Stream != nil && !v.State.Final() {
		body.Live = "/deliveries/" + v.ID.String() + "/live"
	}
	return c.show(http.StatusOK, "delivery", &page{Title: body.Row.Word + ": " + body.Title, Nav: "deliveries", Body: body})
}

// typeTitle is how a type is called.
func (c *call) typeTitle(key string) string {
	if t := c.o.Catalog.Type(key); t != nil {
		return t.Title()
	}
	return key
}

// deliveryLink fills in where it goes, and with which account.
func (c *call) deliveryLink(body *deliveryPage, v *deliver.Inspection) error {
	if v.Link == nil {
		return nil
	}
	body.Link = &linkName{ID: v.Link.String(), Name: body.Row.Name, Integration: v.Integration, Edit: body.Row.Edit}
	l, err := c.o.Links.Get(c.r.Context(), c.who, *v.Link)
	switch {
	case patchbay.CodeOf(err) == patchbay.CodeNotFound:
		return nil // it was deleted, or lies above
	case err != nil:
		return err
	case l.Connection == nil || c.o.Connections == nil:
		return nil
	}
	con, err := c.o.Connections.Get(c.r.Context(), c.who, *l.Connection)
	switch {
	case patchbay.CodeOf(err) == patchbay.CodeNotFound || patchbay.CodeOf(err) == patchbay.CodeForbidden:
		return nil
	case err != nil:
		return err
	}
	row := c.connectionRow(con, "/deliveries/"+v.ID.String())
	body.Account, body.AccountHref = con.Title(), row.Href
	return nil
}

// deliveryActs says what the viewer can do with it.
func (c *call) deliveryActs(body *deliveryPage, v *deliver.Inspection) {
	if !c.who.May(access.Manage) || v.Link == nil || !body.Row.Sees {
		return
	}
	body.Cancel = !v.State.Final()
	switch v.State {
	case patchbay.DeliveryPending:
		body.Retry = "Try it now"
	case patchbay.DeliveryFailed, patchbay.DeliveryCancelled:
		body.Retry = "Try it again"
	case patchbay.DeliverySucceeded:
		body.Retry, body.AskRetry = "Send it again", true
	}
	if v.State == patchbay.DeliveryFailed && c.o.Jobs != nil && body.Operator {
		body.Like = link("/jobs/new", "action", jobs.Retry, "state", string(v.State), "link", v.Link.String())
	}
}

// standing says in a sentence where a delivery stands.
func (c *call) standing(v *deliver.Inspection) string {
	partner := c.titleOf(v.Integration)
	tries := count(v.AttemptCount, "attempt", "attempts")
	switch v.State {
	case patchbay.DeliverySucceeded:
		return partner + " took it, after " + tries + "."
	case patchbay.DeliveryFailed:
		return strings.TrimSpace("It did not get through, after " + tries + ", and is not tried again by itself. " + sentence(v.Reason))
	case patchbay.DeliveryHeld:
		return "Its link is paused: it is kept, and sent once the link is resumed."
	case patchbay.DeliveryCancelled:
		return strings.TrimSpace("It was cancelled, so it is not sent. " + sentence(v.Reason))
	case patchbay.DeliverySkipped:
		return strings.TrimSpace(partner + " has nothing to do with it, so nothing was sent. " + sentence(v.Reason))
	}
	if v.AttemptCount > 0 {
		return "It has not got through yet, after " + tries + ", and is tried again by itself."
	}
	return "It waits for its first attempt."
}

// whatNext says what happens next to a delivery that has not ended.
func (c *call) whatNext(body *deliveryPage, v *deliver.Inspection) {
	if v.State.Final() {
		return
	}
	switch {
	case v.State == patchbay.DeliveryHeld:
		body.Next = "Held until the link is resumed"
	case v.AttemptCount == 0:
		body.Next = "First attempt"
	default:
		body.Next = "Attempt " + strconv.Itoa(v.AttemptCount+1)
	}
	if n := v.RetriesLeft; n != nil && v.State == patchbay.DeliveryPending {
		switch *n {
		case 0:
			body.Left = "It is the last one by the link's schedule."
		case 1:
			body.Left = "If it fails, there is one more by the link's schedule."
		default:
			body.Left = "If it fails, there are " + strconv.Itoa(*n) + " more by the link's schedule."
		}
	}
}

// timeline puts attempts and decisions on one line.
func (c *call) timeline(v *deliver.Inspection) []timelineStep {
	longest := int64(1)
	for i := range v.Attempts {
		longest = max(longest, v.Attempts[i].DurationMS)
	}
	var out []timelineStep
	end := v.ID.Time()
	add := func(s timelineStep, took time.Duration) {
		if gap := s.At.Sub(end); gap >= time.Millisecond && len(out) > 0 || gap >= time.Second {
			s.Pause = "after " + spell(gap)
		}
		end = s.At.Add(took)
		out = append(out, s)
	}
	decisions := slices.Clone(v.Decisions)
	decide := func(after int) {
		for len(decisions) > 0 && decisions[0].After <= after {
			add(c.decisionStep(v, decisions[0]), 0)
			decisions = decisions[1:]
		}
	}
	for i := range v.Attempts {
		decide(i)
		add(c.attemptStep(v, i, longest), time.Duration(v.Attempts[i].DurationMS)*time.Millisecond)
	}
	decide(len(v.Attempts))
	if v.State == patchbay.DeliveryCancelled && len(v.Decisions) == 0 { // everything that waited, with one write
		out = append(out, timelineStep{Title: "Cancelled", Words: sentence(v.Reason)})
	}
	return out
}

func (c *call) decisionStep(v *deliver.Inspection, d deliver.Decision) timelineStep {
	s := timelineStep{At: d.At, Title: "Decided without an attempt", Words: sentence(d.Why)}
	switch v.State {
	case patchbay.DeliveryCancelled, patchbay.DeliverySkipped:
		s.Title = deliveryWords[v.State][1]
	case patchbay.DeliveryFailed:
		s.Kind, s.Title = "bad", "Given up"
	}
	return s
}

// attemptStep is one attempt on the line.
func (c *call) attemptStep(v *deliver.Inspection, i int, longest int64) timelineStep {
	a := &v.Attempts[i]
	w := verdictWords[a.Verdict]
	p := &attemptPart{
		ID: "attempt-" + strconv.Itoa(i+1), Number: i + 1, Took: tookWords(a.DurationMS), Request: a.Request,
		Share: strconv.FormatFloat(max(1, 100*float64(a.DurationMS)/float64(longest)), 'f', 1, 64) + "%",
	}
	p.Withheld = a.Request == nil && a.Error == nil && a.ResponseBody == nil && a.Verdict != patchbay.VerdictDelivered
	if a.ResponseCode != nil {
		p.Status = statusWords(a)
	}
	if r := a.Request; r != nil {
		for name, value := range r.Headers {
			p.Headers = append(p.Headers, headerLine{name, value})
		}
		slices.SortFunc(p.Headers, func(a, b headerLine) int { return strings.Compare(a.Name, b.Name) })
		if r.Body != nil {
			p.Body, p.BodyNote = jsonOf(p.ID+"-body", "Body of the request", "", []byte(*r.Body)), sentence(r.BodyNote)
		}
	}
	if text := text(a.ResponseBody); text != "" {
		p.Reply = jsonOf(p.ID+"-answer", "What was answered", "", []byte(text))
	}
	s := timelineStep{At: a.At, Kind: w.kind, Title: w.word, Words: c.titleOf(v.Integration) + " " + w.means, Attempt: p, Follows: c.follows(v, i)}
	if text := text(a.Error); text != "" {
		s.Words = sentence(text)
	}
	if v.State == patchbay.DeliveryFailed && i == len(v.Attempts)-1 {
		s.Kind = "bad"
	}
	return s
}

// follows says what came of an attempt.
func (c *call) follows(v *deliver.Inspection, i int) string {
	a := &v.Attempts[i]
	last := i == len(v.Attempts)-1
	throttled := a.ResponseCode != nil && *a.ResponseCode == http.StatusTooManyRequests
	switch {
	case a.Verdict == patchbay.VerdictDelivered:
		return ""
	case !last && throttled:
		return "It was tried again later; this used up none of its tries."
	case !last:
		return "It was tried again."
	case v.State == patchbay.DeliveryFailed && a.Verdict == patchbay.VerdictAuthExpired:
		return "Connect the account again, or put the link's settings right; then try it again."
	case v.State == patchbay.DeliveryFailed && a.Verdict == patchbay.VerdictRejected:
		return "So it ended here. Put right what it says, then try it again."
	case v.State == patchbay.DeliveryFailed:
		return "So it was given up."
	case v.State == patchbay.DeliveryPending && a.Verdict == patchbay.VerdictAuthExpired:
		return "The account's access is renewed before it is tried again."
	case v.State == patchbay.DeliveryPending && throttled:
		return "It is tried again when the partner allows it; this used up none of its tries."
	case v.State == patchbay.DeliveryPending:
		return "It is tried again."
	}
	return ""
}

// statusWords is the code that was answered, with its name where it is one of HTTP.
func statusWords(a *deliver.AttemptView) string {
	code := strconv.Itoa(*a.ResponseCode)
	if a.Request == nil || !strings.HasPrefix(a.Request.URL, "http") {
		return code
	}
	return strings.TrimSpace(code + " " + http.StatusText(*a.ResponseCode))
}

// tookWords says how long an attempt took, in milliseconds.
func tookWords(ms int64) string {
	if ms <= 0 {
		return "less than 1 ms"
	}
	return spell(time.Duration(ms) * time.Millisecond)
}

// spell says how long something took, in the two largest units.
func spell(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < 10*time.Second:
		return strconv.FormatFloat(float64(d.Round(100*time.Millisecond))/float64(time.Second), 'f', -1, 64) + " s"
	}
	units := []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}}
	for i, u := range units {
		if d < u.of {
			continue
		}
		out := strconv.FormatInt(int64(d/u.of), 10) + " " + u.name
		if i+1 < len(units) {
			if rest := d % u.of / units[i+1].of; rest > 0 {
				out += " " + strconv.FormatInt(int64(rest), 10) + " " + units[i+1].name
			}
		}
		return out
	}
	return "no time"
}

// deliveryLive tells the page that something has happened to its delivery.
func (c *call) deliveryLive() error {
	v, err := c.inspectDelivery()
	if err != nil {
		return err
	}
	f := stream.Filter{Kinds: []string{stream.KindAttempt, stream.KindDelivery}, Event: v.Event, Integration: v.Integration}
	if v.Link != nil {
		f.Link = *v.Link
	}
	return c.watch(f)
}

// deliveryAsk asks whether something should be done to a delivery.
type deliveryAsk struct {
	ID                  patchbay.DeliveryID
	Title, Text, Button string
	To, Name            string
	Danger              bool
}

// askDelivery asks before a delivery is sent again that has arrived, and before one is cancelled.
func (c *call) askDelivery() error {
	v, err := c.inspectDelivery()
	if err != nil {
		return err
	}
	if err := c.who.Require(access.Manage); err != nil {
		return err
	}
	ask := &deliveryAsk{ID: v.ID, To: "/deliveries/" + v.ID.String() + "/", Name: c.deliveryRow(&v.View).Name}
	switch c.r.PathValue("what") {
	case "retry":
		ask.Title, ask.Text, ask.Button, ask.To = "Send it again?", "It goes to the same place once more, whatever became of it before. The receiver sees the identifier that it knows.", "Send it again", ask.To+"retry"
	case "cancel":
		ask.Title, ask.Text, ask.Button, ask.To = "Cancel this delivery?", "It is not sent any more, unless somebody tries it again by hand. If it is being sent at this moment, it may still arrive.", "Cancel it", ask.To+"cancel"
		ask.Danger = true
	default:
		return patchbay.Errorf(patchbay.CodeNotFound, "the page that you wanted does not exist")
	}
	return c.show(http.StatusOK, "delivery-ask", &page{Title: ask.Title, Nav: "deliveries", Narrow: true, Body: ask})
}

func (c *call) changeDelivery() error {
	id, err := c.deliveryID()
	if err != nil {
		return err
	}
	n := &note{Kind: "ok"}
	switch c.r.PathValue("what") {
	case "retry":
		_, err = c.o.Deliveries.Retry(c.r.Context(), c.who, id)
		n.Title, n.Text = "It is due now.", "What comes of it stands here in a moment."
	case "cancel":
		_, err = c.o.Deliveries.Cancel(c.r.Context(), c.who, id)
		n.Title = "It was cancelled."
	default:
		return patchbay.Errorf(patchbay.CodeNotFound, "the page that you wanted does not exist")
	}
	switch {
	case patchbay.CodeOf(err) == patchbay.CodeConflict: // the page itself says how it stands
		_, text, _, _ := c.explain(err)
		n = &note{Kind: "warn", Title: "That was not possible.", Text: text}
	case err != nil:
		return err
	}
	c.leave(n)
	return c.redirect("/deliveries/" + id.String())
}
