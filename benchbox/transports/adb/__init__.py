"""Phones reached by adb."""
