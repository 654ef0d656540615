// Package packagetest makes the modules as a proxy has them, and uses them in a clean place.
package packagetest
