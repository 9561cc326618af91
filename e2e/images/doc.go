// Package images runs each image of images/ in a container and uses its service for real: a query through pgpool, a virtual
// address that moves, a map. scripts/images builds what has changed; `make images-test` runs this package.
package images
