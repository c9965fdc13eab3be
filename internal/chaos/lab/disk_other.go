//go:build !linux

package lab

func cutPower(string) error { return errNoDisk }
