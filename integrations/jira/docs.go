package jira

import _ "embed"

// docs is the integration's page.
//
//go:embed docs.md
var docs string
