package web

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/links"
)

// resumePage asks what is to become of what has waited for a link.
type resumePage struct {
	ID         patchbay.LinkID
	Name, Back string
	// Waits says how much there is, Takes how long it will take.
	Waits, Takes string
	Oldest       time.Time
	// Active says that the link works, so that there is nothing to resume, only something to leave out.
	Active bool
	// Missed says that the link was off, and so there may be more that it missed.
	Missed bool
	// Operator says that the viewer can recover.
	Operator bool
}

// rotatePage asks whether a secret is to be made anew.
type rotatePage struct {
	ID         patchbay.LinkID
	Name, Back string
}

// confirmResume asks how a link is to go on.
func (c *call) confirmResume() error {
	v, err := c.linkToChange("resume")
	if err != nil {
		return err
	}
	o, err := c.outlook(v.ID)
	if err != nil {
		return err
	}
	body := &resumePage{
		ID: v.ID, Name: v.ShortName, Back: linkPath(v.ID), Active: v.State == patchbay.LinkActive, Missed: v.State == patchbay.LinkDisabled,
		Operator: !c.who.Portal,
	}
	if o != nil && o.Waiting > 0 {
		body.Waits, body.Takes, body.Oldest = waitingWords(o, !body.Active), takesWords(o), o.Oldest
	}
	title := "Resume " + v.ShortName
	if body.Active {
		title = "Skip what waits for " + v.ShortName
	}
	return c.show(http.StatusOK, "resume", &page{Title: title, Nav: "settings", Narrow: true, Body: body})
}

// confirmRotate asks whether a link's secret is to be made anew.
func (c *call) confirmRotate() error {
	v, err := c.linkToChange("rotate the secret of")
	if err != nil {
		return err
	}
	if !c.o.Links.Rotates(c.who, v.ID) {
		return patchbay.Errorf(patchbay.CodeInvalidRequest, "%s has no secret that you could have made anew", v.ShortName)
	}
	return c.show(http.StatusOK, "rotate", &page{Title: "New secret for " + v.ShortName, Nav: "settings", Narrow: true, Body: &rotatePage{v.ID, v.ShortName, linkPath(v.ID)}})
}

// linkToChange returns the link that the path names to somebody who may change it.
func (c *call) linkToChange(what string) (*links.View, error) {
	id, err := c.linkID()
	if err != nil {
		return nil, err
	}
	v, err := c.o.Links.Get(c.r.Context(), c.who, id)
	if err != nil {
		return nil, err
	}
	if err := c.who.Require(access.Manage); err != nil {
		return nil, patchbay.Errorf(patchbay.CodeForbidden, "you may look at this link, but not %s it", what)
	}
	return v, nil
}

// changeLink does what a button on a link's page asks for.
func (c *call) changeLink() error {
	if err := c.form(); err != nil {
		return err
	}
	id, err := c.linkID()
	if err != nil {
		return err
	}
	return c.act(id, linkPath(id))
}

// act does with a link what a form asks for, and goes back to a page.
func (c *call) act(id patchbay.LinkID, back string) error {
	ctx, action := c.r.Context(), c.r.PostForm.Get("action")
	var v *links.View
	var err error
	n := &note{Kind: "ok"}
	switch action {
	case "pause":
		v, err = c.o.Links.Pause(ctx, c.who, id)
		n.Text = "What happens from now on is kept, and sent once you resume."
	case "resume", "send":
		if action == "resume" { // not yet asked about
			if ask, err := c.asks(id); err != nil || ask {
				return c.redirectOr(linkPath(id)+"/resume", err)
			}
		}
		v, err = c.o.Links.Resume(ctx, c.who, id)
		n.Text = "What was kept is being sent."
	case "skip":
		v, err = c.o.Links.Skip(ctx, c.who, id)
		n.Text = "What had waited is not sent. As long as its events are kept, a recovery can bring it back."
	case "rotate":
		v, err = c.o.Links.RotateSecret(ctx, c.who, id)
		n.Text = "The old secret is good for another day."
		if err == nil {
			n.Secrets = c.secretsOf(v)
		}
	case "test":
		r, err := c.o.Links.Test(ctx, c.who, id)
		if err != nil {
			return err
		}
		v, err := c.o.Links.Get(ctx, c.who, id)
		if err != nil {
			return err
		}
		return c.showLink(id, testWords(r, c.titleOf(v.Integration)))
	default:
		return patchbay.Errorf(patchbay.CodeInvalidRequest, "there is nothing called %q to do here: go back, reload the page and try again", clip(action))
	}
	if err != nil {
		return err
	}
	n.Title = v.ShortName + map[string]string{
		"pause": " is paused.", "resume": " works again.", "send": " works again.", "skip": " goes on from now.", "rotate": " has a new secret.",
	}[action]
	c.leave(n)
	return c.redirect(back)
}

func (c *call) redirectOr(to string, err error) error {
	if err != nil {
		return err
	}
	return c.redirect(to)
}

// asks reports whether resuming a link has to be asked about: something waits for it. Whoever may not resume it is told so
// by the service.
func (c *call) asks(id patchbay.LinkID) (bool, error) {
	if !c.who.May(access.Manage) {
		return false, nil
	}
	if _, err := c.o.Links.Get(c.r.Context(), c.who, id); err != nil {
		return false, err
	}
	o, err := c.outlook(id)
	return o != nil && o.Waiting > 0, err
}

// secretsOf names the secrets that were made for a link.
func (c *call) secretsOf(v *links.View) (out [][2]string) {
	for _, key := range slices.Sorted(maps.Keys(v.Secrets)) {
		out = append(out, [2]string{secretTitle(c.definitions[v.Integration], key), v.Secrets[key]})
	}
	return out
}
