package web

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/oidc"
	"github.com/patchbay/patchbay/internal/session"
)

// SignOn lets operators in by an OpenID provider.
type SignOn interface {
	// Begin sends somebody to the provider; back is the page to go to afterwards, again has people asked who they are whom it knows.
	Begin(ctx context.Context, back string, again bool) (*oidc.Start, error)
	// Finish says who came back, with an error too when it is known who it is and not what they may do.
	Finish(ctx context.Context, cookie string, q url.Values) (*oidc.Person, error)
}

// signInPage asks an operator who they are: at the provider, when there is one, or with a key.
type signInPage struct {
	Return, Error string
	// SignOn is the address of the page that leads to the provider, Provider how that is called; "" where there is none.
	SignOn, Provider string
	// Trouble is why the provider let nobody in.
	Trouble string
}

// signInFirst answers somebody who has not signed in. Only pages that are looked at come back after it: what a form asked
// for is not done unseen later.
func (c *call) signInFirst(reason error) {
	if (c.r.Method == http.MethodGet || c.r.Method == http.MethodHead) && !wantsJSON(c.r) {
		_ = c.redirect(link("/sign-in", "return", local(c.r.URL.RequestURI(), "")))
		return
	}
	c.showProblem(&problemPage{
		Status: http.StatusUnauthorized, Title: "You are not signed in any more", Text: sentence(reason.Error()) + " Nothing was changed.",
		Next: "/sign-in", NextTitle: "Sign in",
	})
}

func (c *call) signInForm() error {
	return c.showSignIn(http.StatusOK, &signInPage{Return: local(c.r.FormValue("return"), "")})
}

func (c *call) showSignIn(status int, body *signInPage) error {
	title := "Sign in"
	if status >= http.StatusBadRequest {
		title = "Problem: Sign in"
	}
	if c.o.SignOn != nil {
		again := ""
		if body.Trouble != "" {
			again = "yes"
		}
		body.SignOn, body.Provider = link("/sign-in/oidc", "return", body.Return, "again", again), c.o.SignOnName
	}
	return c.show(status, "sign-in", &page{Title: title, Narrow: true, Body: body})
}

func (c *call) signIn() error {
	if err := c.form(); err != nil {
		return err
	}
	back := local(c.r.PostForm.Get("return"), "/")
	err := c.o.Sessions.SignIn(c.w, c.r, patchbay.Secret(c.r.PostForm.Get("key")))
	switch code := patchbay.CodeOf(err); code {
	case "":
		return c.redirect(back)
	case patchbay.CodeUnauthorized, patchbay.CodeForbidden, patchbay.CodeInvalidRequest:
		_, text, _, _ := c.explain(err)
		return c.showSignIn(code.HTTPStatus(), &signInPage{Return: local(back, ""), Error: text})
	}
	return err
}

// signOnLasts is how long the browser keeps the cookie of a sign-in that has begun, in seconds.
const signOnLasts = int(oidc.Lasts / 1e9)

// signOnCookie is the browser's while somebody is at the provider. It comes with the way back, which is a navigation from
// another site.
func (c *call) signOnCookie(value string, lasts int) *http.Cookie {
	name := "patchbay-sign-in"
	if c.o.Secure {
		name = "__Host-" + name
	}
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: lasts, HttpOnly: true, Secure: c.o.Secure, SameSite: http.SameSiteLaxMode}
}

// signOn sends an operator to the provider.
func (c *call) signOn() error {
	if c.o.SignOn == nil {
		return patchbay.Errorf(patchbay.CodeNotFound, "people sign in here with a key")
	}
	back := local(c.r.FormValue("return"), "")
	start, err := c.o.SignOn.Begin(c.r.Context(), back, c.r.FormValue("again") != "")
	if err != nil {
		return c.signOnFailed(err, back)
	}
	http.SetCookie(c.w, c.signOnCookie(start.Cookie, signOnLasts))
	return c.redirect(start.URL)
}

// signedOn takes an operator who comes back from the provider.
func (c *call) signedOn() error {
	if c.o.SignOn == nil {
		return patchbay.Errorf(patchbay.CodeNotFound, "people sign in here with a key")
	}
	empty := c.signOnCookie("", -1)
	cookie, err := c.r.Cookie(empty.Name)
	if err != nil {
		cookie = empty
	}
	http.SetCookie(c.w, empty)
	who, err := c.o.SignOn.Finish(c.r.Context(), cookie.Value, c.r.URL.Query())
	if err == nil {
		err = c.o.Sessions.SignInAs(c.w, c.r, session.Identity{Issuer: who.Issuer, Subject: who.Subject, Name: who.Name, Role: who.Role, Scope: who.Scope})
	}
	if err != nil {
		c.o.Sessions.Refused(c.r, err)
		return c.signOnFailed(err, "")
	}
	return c.redirect(local(who.Back, "/"))
}

// signOnFailed says why nobody was signed in. What the provider answered is the operator's to read, in the log.
func (c *call) signOnFailed(err error, back string) error {
	switch code := patchbay.CodeOf(err); code {
	case patchbay.CodeForbidden:
		c.o.Log.LogAttrs(c.r.Context(), slog.LevelWarn, "a sign-in was refused", slog.Any("error", err))
		_, text, _, _ := c.explain(err)
		c.showProblem(&problemPage{Status: code.HTTPStatus(), Title: "You have no role here", Text: text, Next: "/sign-in/oidc?again=yes", NextTitle: "Sign in as somebody else"})
		return nil
	case patchbay.CodeUnauthorized, patchbay.CodeUnavailable, patchbay.CodeInvalidRequest:
		c.o.Log.LogAttrs(c.r.Context(), slog.LevelWarn, "a sign-in failed", slog.Any("error", err))
		_, text, _, _ := c.explain(err)
		return c.showSignIn(code.HTTPStatus(), &signInPage{Return: back, Trouble: text})
	}
	return err
}

// roleWord spells a role.
func roleWord(r access.Role) string {
	switch r {
	case access.RoleViewer:
		return "Viewer"
	case access.RoleOperator:
		return "Operator"
	case access.RoleAdmin:
		return "Administrator"
	}
	return ""
}

func (c *call) signOut() error {
	if err := c.o.Sessions.SignOut(c.w, c.r); err != nil {
		return err
	}
	return c.redirect("/sign-in")
}

// portal is where the host product sends its customer: the script on it finds the token in the address.
func (c *call) portal() error {
	return c.show(http.StatusOK, "portal", &page{Title: "Opening", Narrow: true})
}

func (c *call) exchange() error {
	if err := c.form(); err != nil {
		return err
	}
	to, err := c.o.Sessions.Exchange(c.w, c.r, c.r.PostForm.Get("token"))
	if err == nil {
		return c.redirect(local(to, "/"))
	}
	code, text, _, _ := c.explain(err)
	status := code.HTTPStatus()
	c.showProblem(&problemPage{Status: status, Title: "This page could not be opened", Text: text})
	return nil
}
