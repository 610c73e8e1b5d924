//go:build slim

package setup

// servicesText is empty in the executable that leaves out what it can.
const servicesText = ""
