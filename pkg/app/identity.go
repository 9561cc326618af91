package app

import (
	"os"
	"strings"
)

// bootID identifies this boot of the machine; "" where the kernel does not say.
func bootID() string { return readLine("/proc/sys/kernel/random/boot_id") }

// serial identifies the board: the Pi's serial number, else the machine id.
func serial() string {
	if s := readLine("/sys/firmware/devicetree/base/serial-number"); s != "" {
		return s
	}
	return readLine("/etc/machine-id")
}

func readLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "" // not every machine has it, and nothing depends on it but telling two machines apart
	}
	return strings.Trim(strings.TrimSpace(string(b)), "\x00")
}
