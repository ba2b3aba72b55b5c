// Package catalogs holds the built-in catalogs: the event types of the systems that Patchbay can take the place of,
// and how each event reads to a person. They are data; everything that knows them by name is in the files.
package catalogs

import "embed"

// Files are the built-in catalogs, each a NAME.yaml.
//
//go:embed *.yaml
var Files embed.FS

// Names lists the built-in catalogs in the order in which people see them.
func Names() []string { return []string{"rainforest", "rhodecode", "keyclic", "idonethis"} }
