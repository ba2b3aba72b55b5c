// Command patchbay gets what happened in a product to every tool that its customers use. See README.md.
package main

import (
	"github.com/patchbay/patchbay/app"
	"github.com/patchbay/patchbay/integrations/all"
)

func main() { app.Main(app.Options{Integrations: all.Integrations()}) }
