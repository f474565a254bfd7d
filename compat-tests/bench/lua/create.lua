-- Creates keys that were never there, in the directory that the URL names. With one wrk thread, a count is enough.
dofile("report.lua")

local sent = 0

function request()
  sent = sent + 1
  return form("PUT", string.format("%s/%09d?prevExist=false", wrk.path, sent), sent)
end
