// Package outbound is the only way out of the process to addresses that users choose: one guarded dialer and one lean
// HTTP/1.1 client on top of it.
//
// Every address is checked when it is dialled, after the name has been resolved, for each connection anew, so that no
// spelling of a host and no name that changes its mind leads to a place that this installation does not send to
// (Guard). Answers are read strictly and within bounds of time and size, redirects are not followed, the environment's
// proxies are ignored, and no error holds a path, a query or a secret. An Attempt remembers the last exchange with
// everything secret taken out of it.
package outbound
