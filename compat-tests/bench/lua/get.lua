-- GETs the URL, again and again.
dofile("report.lua")
