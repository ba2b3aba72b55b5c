package patchbay

import (
	"errors"
	"fmt"
	"net/http"
)

// Code says what kind of error happened; programs branch on it. It is the "type" of an error's JSON.
type Code string

// The codes, and the HTTP status that each answers with.
const (
	CodeInvalidRequest           Code = "invalid_request"           // 400
	CodeUnsupportedIntegration   Code = "unsupported_integration"   // 400
	CodeMisconfiguredIntegration Code = "misconfigured_integration" // 400: a setting is missing, or the partner refused our request
	CodeUserConfigurationError   Code = "user_configuration_error"  // 400: the partner refused credentials or address
	CodeServiceError             Code = "service_error"             // 400: the partner failed or could not be reached
	CodeUnauthorized             Code = "unauthorized"              // 401
	CodeForbidden                Code = "forbidden"                 // 403
	CodeNotFound                 Code = "not_found"                 // 404
	CodeConflict                 Code = "conflict"                  // 409
	CodePayloadTooLarge          Code = "payload_too_large"         // 413
	CodeRateLimited              Code = "rate_limited"              // 429, with Retry-After
	CodeUnavailable              Code = "unavailable"               // 503, with Retry-After; nothing was accepted
	CodeInternal                 Code = "internal"                  // 500; no detail leaves the process
)

// HTTPStatus returns the status that an answer with the code has; 500 for a code that is none of these.
func (c Code) HTTPStatus() int {
	switch c {
	case CodeInvalidRequest, CodeUnsupportedIntegration, CodeMisconfiguredIntegration, CodeUserConfigurationError, CodeServiceError:
		return http.StatusBadRequest
	case CodeUnauthorized:
		return http.StatusUnauthorized
	case CodeForbidden:
		return http.StatusForbidden
	case CodeNotFound:
		return http.StatusNotFound
	case CodeConflict:
		return http.StatusConflict
	case CodePayloadTooLarge:
		return http.StatusRequestEntityTooLarge
	case CodeRateLimited:
		return http.StatusTooManyRequests
	case CodeUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// Detail is one thing that is wrong with a request, and where.
type Detail struct {
	// Path is where, such as "payload.run" or "settings.url".
	Path string `json:"path"`
	// Message is a sentence without the path.
	Message string `json:"message"`
}

// Error is an error with a code and a sentence for a person. Everything that a surface answers with is made from one.
type Error struct {
	Code    Code
	Message string
	Details []Detail
	// RetryAfter, in seconds, goes into the Retry-After header of rate_limited and unavailable; 0 leaves the
	// default of 1.
	RetryAfter int
	// Err is the cause. It is logged, never shown to callers.
	Err error
	// spelled is a cause that Message spells already.
	spelled error
}

// Error returns the sentence, with the cause when there is one.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error {
	if e.Err != nil {
		return e.Err
	}
	return e.spelled
}

// Errorf makes an error with a code. Each %w in the format becomes a cause for errors.Is and errors.As, and its text
// is part of the sentence: use it only for causes that a caller may read.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	spelled := errors.Unwrap(err)
	if _, several := err.(interface{ Unwrap() []error }); several {
		spelled = err
	}
	return &Error{Code: code, Message: err.Error(), spelled: spelled}
}

// Invalid makes an invalid_request error about one place in the request.
func Invalid(path, format string, args ...any) *Error {
	message := fmt.Sprintf(format, args...)
	return &Error{Code: CodeInvalidRequest, Message: path + ": " + message, Details: []Detail{{Path: path, Message: message}}}
}

// Internal wraps a cause that is nobody's fault outside. Callers see only that something went wrong.
func Internal(doing string, err error) *Error {
	return &Error{Code: CodeInternal, Message: "something went wrong on our side while " + doing, Err: err}
}

// CodeOf returns the code of the first Error in err's chain, CodeInternal for any other error, "" for nil.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Code
	}
	return CodeInternal
}
