package jira

import (
	"encoding/json"
	"errors"

	"github.com/patchbay/patchbay/integration"
)

// Where Atlassian's cloud is.
// https://developer.atlassian.com/cloud/jira/platform/oauth-2-3lo-apps/
const (
	publicAuth = "https://auth.atlassian.com"
	publicAPI  = "https://api.atlassian.com"
)

// operatorConfig is what the operator sets for all links.
type operatorConfig struct {
	ClientID     string             `json:"client_id"`
	ClientSecret integration.Secret `json:"client_secret"`
	AuthURL      string             `json:"auth_url"`
	APIURL       string             `json:"api_url"`
	ConsumerKey  string             `json:"consumer_key"`
	PrivateKey   integration.Secret `json:"private_key"`
	BaseURL      string             `json:"base_url"`
}

func readConfig(raw json.RawMessage) (*operatorConfig, error) {
	c := new(operatorConfig)
	if len(raw) > 0 && json.Unmarshal(raw, c) != nil {
		return nil, errors.New("the operator's settings in integrations.jira cannot be read")
	}
	if c.AuthURL == "" {
		c.AuthURL = publicAuth
	}
	if c.APIURL == "" {
		c.APIURL = publicAPI
	}
	return c, nil
}

func configSpec() integration.Spec {
	return integration.Spec{
		{
			Key: "client_id", Title: "Client ID", Type: integration.TypeString,
			Help: "Of the OAuth 2.0 (3LO) app at developer.atlassian.com through which people connect Jira Cloud.",
		},
		{
			Key: "client_secret", Title: "Client secret", Type: integration.TypeString, Secret: true,
			Help: "Of the same app. Atlassian also signs with it what it sends.",
		},
		{
			Key: "auth_url", Title: "Address of the consent", Type: integration.TypeURL, Check: integration.CheckBaseURL, Target: true,
			Help: "Without it " + publicAuth + ".",
		},
		{
			Key: "api_url", Title: "Address of the API", Type: integration.TypeURL, Check: integration.CheckBaseURL, Target: true,
			Help: "Without it " + publicAPI + ".",
		},
		{
			Key: "consumer_key", Title: "OAuth consumer key", Type: integration.TypeString,
			Help: "The key of the application link in Jira. Signs for links with oauth_settings; a call's own oauth_consumer comes first.",
		},
		{
			Key: "private_key", Title: "OAuth private key", Type: integration.TypeText, Secret: true, Signing: true,
			Help: "The RSA private key of the application link, in PEM.",
		},
		{
			Key: "base_url", Title: "Address of Jira Data Center", Type: integration.TypeURL, Check: integration.CheckBaseURL, Target: true,
			Example: "https://jira.example.com",
			Help:    "With consumer_key and private_key: people connect their accounts there by OAuth 1.0a.",
		},
	}
}
