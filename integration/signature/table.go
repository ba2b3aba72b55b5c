package signature

import (
	"slices"
	"time"
)

// window is how far timestamps may be from the clock, which is what everybody recommends who says anything.
const window = 5 * time.Minute

// Table returns the known schemes, in the order in which they are offered: partners by name, then the plain ones.
// Callers may change what they get.
func Table() []Scheme { return slices.Concat(partners(), plain()) }

// Named returns the scheme of a name.
func Named(name string) (Scheme, bool) {
	for _, s := range Table() {
		if s.Name == name {
			return s, true
		}
	}
	return Scheme{}, false
}

// GitHub is for those who need it without looking it up.
func GitHub() Scheme {
	return Scheme{
		Name: "github", Title: "GitHub", Header: "X-Hub-Signature-256", Algorithm: HMACSHA256, Encoding: Hex, Prefix: "sha256=",
		Docs: "https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries",
	}
}

// Slack is for those who need it without looking it up.
func Slack() Scheme {
	return Scheme{
		Name: "slack", Title: "Slack", Header: "X-Slack-Signature", Algorithm: HMACSHA256, Encoding: Hex, Prefix: "v0=",
		Content: "v0:{timestamp}:{body}", TimestampHeader: "X-Slack-Request-Timestamp", Window: window,
		Docs: "https://docs.slack.dev/authentication/verifying-requests-from-slack",
	}
}

// JiraOAuth2 is how Jira Cloud proves webhooks that an OAuth 2 app registered: a token signed with the app's client secret.
func JiraOAuth2() Scheme {
	return Scheme{
		Name: "jira-oauth2", Title: "Jira (OAuth 2 app)", Header: "Authorization", Algorithm: JWT, Encoding: Raw, Prefix: "Bearer ",
		Docs: "https://developer.atlassian.com/cloud/jira/platform/webhooks/#webhooks-authentication-for-oauth-2-0-apps",
	}
}

// StandardWebhooks is version 1 of Standard Webhooks with a shared secret; StandardWebhooksEd25519 is with a key pair.
func StandardWebhooks() Scheme {
	return Scheme{
		Name: "standard-webhooks", Title: "Standard Webhooks", Header: "webhook-signature", Algorithm: HMACSHA256, Encoding: Base64,
		Content: "{id}.{timestamp}.{body}", TimestampHeader: "webhook-timestamp", IDHeader: "webhook-id", Window: window,
		Fields:         &Fields{Separator: " ", Assign: ",", Signature: "v1"},
		SecretEncoding: Base64, SecretPrefix: "whsec_",
		Docs: "https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md",
	}
}

// StandardWebhooksEd25519 verifies with the public key (whpk_…) and signs with the private one (whsk_…).
func StandardWebhooksEd25519() Scheme {
	s := StandardWebhooks()
	s.Name, s.Title, s.Algorithm = "standard-webhooks-ed25519", "Standard Webhooks (ed25519)", Ed25519
	s.Fields = &Fields{Separator: " ", Assign: ",", Signature: "v1a"}
	s.SecretPrefix, s.PrivatePrefix = "whpk_", "whsk_"
	return s
}

// partners are the schemes that have a name of their own.
func partners() []Scheme {
	gitlab := StandardWebhooks()
	gitlab.Name, gitlab.Title = "gitlab-signed", "GitLab (signing token)"
	gitlab.Docs = "https://docs.gitlab.com/user/project/integrations/webhooks/"
	return []Scheme{
		GitHub(), Slack(), StandardWebhooks(), StandardWebhooksEd25519(),
		{
			Name: "stripe", Title: "Stripe", Header: "Stripe-Signature", Algorithm: HMACSHA256, Encoding: Hex,
			Content: "{timestamp}.{body}", Window: window,
			Fields: &Fields{Separator: ",", Assign: "=", Timestamp: "t", Signature: "v1"},
			Docs:   "https://docs.stripe.com/webhooks/signature",
		},
		{
			Name: "shopify", Title: "Shopify", Header: "X-Shopify-Hmac-Sha256", Algorithm: HMACSHA256, Encoding: Base64,
			Docs: "https://shopify.dev/docs/apps/build/webhooks/subscribe/https",
		},
		{
			Name: "gitlab", Title: "GitLab (secret token)", Header: "X-Gitlab-Token", Algorithm: Token, Encoding: Raw,
			Docs: "https://docs.gitlab.com/user/project/integrations/webhooks/",
		},
		gitlab,
		{
			// The time stands in the body (webhookTimestamp), which nobody reads before it is proven.
			Name: "linear", Title: "Linear", Header: "Linear-Signature", Algorithm: HMACSHA256, Encoding: Hex,
			Docs: "https://linear.app/developers/webhooks",
		},
		{
			Name: "pagerduty", Title: "PagerDuty", Header: "X-PagerDuty-Signature", Algorithm: HMACSHA256, Encoding: Hex,
			Fields: &Fields{Separator: ",", Assign: "=", Signature: "v1"},
			Docs:   "https://developer.pagerduty.com/docs/webhooks/webhook-signatures/",
		},
		{
			Name: "bitbucket", Title: "Bitbucket", Header: "X-Hub-Signature", Algorithm: HMACSHA256, Encoding: Hex, Prefix: "sha256=",
			Docs: "https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/",
		},
		{
			Name: "jira", Title: "Jira (webhook with a secret)", Header: "X-Hub-Signature", Algorithm: HMACSHA256, Encoding: Hex,
			Prefix: "sha256=", Docs: "https://developer.atlassian.com/cloud/jira/platform/webhooks/#secure-admin-webhooks",
		},
		JiraOAuth2(),
		{
			Name: "intercom", Title: "Intercom", Header: "X-Hub-Signature", Algorithm: HMACSHA1, Encoding: Hex, Prefix: "sha1=",
			Docs: "https://developers.intercom.com/docs/webhooks/webhook-notifications",
		},
		{
			Name: "zoom", Title: "Zoom", Header: "x-zm-signature", Algorithm: HMACSHA256, Encoding: Hex, Prefix: "v0=",
			Content: "v0:{timestamp}:{body}", TimestampHeader: "x-zm-request-timestamp", Window: window,
			Docs: "https://developers.zoom.us/docs/api/webhooks/#verify-webhook-events",
		},
		{
			Name: "discord", Title: "Discord", Header: "X-Signature-Ed25519", Algorithm: Ed25519, Encoding: Hex,
			Content: "{timestamp}{body}", TimestampHeader: "X-Signature-Timestamp", Window: window, SecretEncoding: Hex,
			Docs: "https://discord.com/developers/docs/events/webhook-events#setting-up-an-endpoint-validating-security-request-headers",
		},
		{
			Name: "sentry", Title: "Sentry", Header: "Sentry-Hook-Signature", Algorithm: HMACSHA256, Encoding: Hex,
			Docs: "https://docs.sentry.io/organization/integrations/integration-platform/webhooks/",
		},
		{
			Name: "typeform", Title: "Typeform", Header: "Typeform-Signature", Algorithm: HMACSHA256, Encoding: Base64, Prefix: "sha256=",
			Docs: "https://www.typeform.com/developers/webhooks/secure-your-webhooks/",
		},
		{
			Name: "trello", Title: "Trello", Header: "X-Trello-Webhook", Algorithm: HMACSHA1, Encoding: Base64, Content: "{body}{url}",
			Docs: "https://developer.atlassian.com/cloud/trello/guides/rest-api/webhooks/#webhook-signatures",
		},
		{
			Name: "square", Title: "Square", Header: "x-square-hmacsha256-signature", Algorithm: HMACSHA256, Encoding: Base64,
			Content: "{url}{body}", Docs: "https://developer.squareup.com/docs/webhooks/step3validate",
		},
		{
			// This product's own, for events that another installation sends on: docs/api.md.
			Name: "patchbay", Title: "Patchbay", Header: "X-Signature", Algorithm: HMACSHA256, Encoding: Hex,
			Content: "{timestamp}.{body}", TimestampHeader: "X-Signature-Timestamp", Window: window,
		},
	}
}

// plain are the schemes for services that the table does not name. Their Header is a default: whoever uses them may put
// another in its place.
func plain() []Scheme {
	return []Scheme{
		{Name: "hmac-sha256-hex", Title: "HMAC-SHA256 of the body, hexadecimal", Header: "X-Signature", Algorithm: HMACSHA256, Encoding: Hex},
		{Name: "hmac-sha256-base64", Title: "HMAC-SHA256 of the body, Base64", Header: "X-Signature", Algorithm: HMACSHA256, Encoding: Base64},
		{Name: "hmac-sha512-hex", Title: "HMAC-SHA512 of the body, hexadecimal", Header: "X-Signature", Algorithm: HMACSHA512, Encoding: Hex},
		{Name: "hmac-sha1-hex", Title: "HMAC-SHA1 of the body, hexadecimal", Header: "X-Signature", Algorithm: HMACSHA1, Encoding: Hex},
		{Name: "token", Title: "A token in a header", Header: "X-Token", Algorithm: Token, Encoding: Raw},
		{
			Name: "bearer", Title: "A bearer token", Header: "Authorization", Algorithm: Token, Encoding: Raw, Prefix: "Bearer ",
			Docs: "https://www.rfc-editor.org/rfc/rfc6750#section-2.1",
		},
		{
			Name: "basic", Title: "HTTP Basic", Header: "Authorization", Algorithm: Basic, Encoding: Raw, Prefix: "Basic ",
			Docs: "https://www.rfc-editor.org/rfc/rfc7617#section-2",
		},
	}
}
