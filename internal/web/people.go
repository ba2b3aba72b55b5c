package web

import (
	"net/http"

	"github.com/patchbay/patchbay"
)

// signInPage asks an operator for a key.
type signInPage struct {
	Return, Error string
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
	return c.show(http.StatusOK, "sign-in", &page{Title: "Sign in", Narrow: true, Body: &signInPage{Return: local(c.r.FormValue("return"), "")}})
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
		status := code.HTTPStatus()
		return c.show(status, "sign-in", &page{Title: "Problem: Sign in", Narrow: true, Body: &signInPage{Return: local(back, ""), Error: text}})
	}
	return err
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
