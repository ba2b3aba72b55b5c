package integration

import (
	"errors"
	"fmt"
	"time"

	"github.com/patchbay/patchbay"
)

// Result is what came of one attempt.
type Result struct {
	Verdict patchbay.Verdict
	// Type and Error describe what went wrong; empty for VerdictDelivered. Error is a sentence that says what to do,
	// and holds no secret.
	Type  patchbay.Code
	Error string
	// Code and Body are what the partner answered, when it did; an inline call shows them.
	Code int
	Body []byte
	// RetryAfter is when the partner wants to be tried again; 0 leaves it to the schedule.
	RetryAfter time.Duration
	// Throttled says that the partner is limiting us: no attempt is used up, and the whole lane waits.
	Throttled bool
	// Disable says that the target never wants this again: the delivery fails and the link is disabled.
	Disable bool
	// Reference identifies the message at the partner; the thread's next delivery gets it.
	Reference string
}

// Delivered says that the partner has it.
func Delivered() Result { return Result{Verdict: patchbay.VerdictDelivered} }

// Retry says that it may work later.
func Retry(format string, args ...any) Result {
	return Result{Verdict: patchbay.VerdictRetry, Type: patchbay.CodeServiceError, Error: fmt.Sprintf(format, args...)}
}

// UserError says that the user's settings are wrong: a token, an address, a channel, a project.
func UserError(format string, args ...any) Result {
	return Result{Verdict: patchbay.VerdictRejected, Type: patchbay.CodeUserConfigurationError, Error: fmt.Sprintf(format, args...)}
}

// Misconfigured says that the partner refuses the request itself, or that a setting is missing.
func Misconfigured(format string, args ...any) Result {
	return Result{Verdict: patchbay.VerdictRejected, Type: patchbay.CodeMisconfiguredIntegration, Error: fmt.Sprintf(format, args...)}
}

// Unrenderable says that the event could not be turned into a message.
func Unrenderable(err error) Result {
	return Misconfigured("the event could not be rendered: %v", err)
}

// With adds what the partner answered.
func (r Result) With(resp *Response) Result {
	if resp == nil {
		return r
	}
	r.Code, r.Body = resp.Status, resp.Body
	if r.Verdict == patchbay.VerdictRetry && r.RetryAfter == 0 {
		r.RetryAfter = resp.RetryAfter
	}
	return r
}

// Unreachable turns an error of HTTP.Do or Env.Dial into a Result. A refused target (see ErrRefused) is the user's to
// correct; everything else may work later.
func Unreachable(partner string, err error) Result {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, ErrPreview):
		return Result{Verdict: patchbay.VerdictRetry, Type: patchbay.CodeServiceError, Error: err.Error()}
	case errors.Is(err, ErrRefused):
		return UserError("%s: %v", partner, err)
	case errors.As(err, &timeout) && timeout.Timeout(): // context.DeadlineExceeded says so too
		return Retry("%s did not answer in time", partner)
	}
	return Retry("%s could not be reached: %v", partner, err)
}

var (
	// ErrRefused is in the chain of errors about targets that this installation does not send to.
	ErrRefused = errors.New("the target is not allowed")
	// ErrPreview is what HTTP.Do answers with in a preview, after it has recorded the request.
	ErrPreview = errors.New("this is a preview; nothing was sent")
)

// Classify turns an answer into a Result by the rule that hosted APIs share: 2xx delivered; 429 throttled; 408, 425
// and 5xx (but 501 and 505) may work later; 410 gone; 401, 402, 403, 404, 405, 407, 3xx, 501 and 505 the user's to
// correct; everything else our request.
func Classify(partner string, resp *Response) Result {
	s := resp.Status
	var r Result
	switch {
	case s >= 200 && s < 300:
		r = Delivered()
	case s == 429:
		r = Retry("%s limits how much may be sent (429)", partner)
		r.Throttled = true
	case s == 408 || s == 425 || (s >= 500 && s != 501 && s != 505):
		r = Retry("%s failed with status %d", partner, s)
	case s == 410:
		r = UserError("%s says that this target is gone for good (410)", partner)
		r.Disable = true
	case s == 401 || s == 403:
		r = UserError("%s refused the credentials (%d): check the token, and what it may do", partner, s)
	case s == 404:
		r = UserError("%s does not know this address (404): check the settings", partner)
	case s == 402 || s == 405 || s == 407 || s == 501 || s == 505 || s >= 300 && s < 400:
		r = UserError("%s answered %d: check the address in the settings", partner, s)
	default:
		r = Misconfigured("%s refused the request (%d)", partner, s)
	}
	return r.With(resp)
}
