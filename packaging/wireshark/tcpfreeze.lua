-- Makes filterable fields of the comments that tcpfreeze writes into its captures.
--
-- Install: copy it to the personal Lua plugin folder (Wireshark: Help, About, Folders), or name it: wireshark -X lua_script:tcpfreeze.lua
--
--   tcpfreeze.action    what was done: custody-ack, zero-window, probe-answer, replay, ack-clock, wake-up, custody, clock, ...
--   tcpfreeze.fate      made, changed or held
--   tcpfreeze.flow      the connection, as listed by "tcpfreeze flows"
--   tcpfreeze.phase     of that connection: opening, flowing, frozen, handback, closing, bypass
--   tcpfreeze.custody   bytes held by the gateway
--   tcpfreeze.reason    why the link is lost
--   tcpfreeze.words     the sentence for people
--
-- A comment ends in: [tcpfreeze fate=made action=custody-ack flow=3.1 phase=frozen custody=437296 reason="no carrier"]

local tcpfreeze = Proto("tcpfreeze", "tcpfreeze: what the gateway did")

local fields = {
  fate = ProtoField.string("tcpfreeze.fate", "Fate"),
  action = ProtoField.string("tcpfreeze.action", "Action"),
  flow = ProtoField.string("tcpfreeze.flow", "Flow"),
  phase = ProtoField.string("tcpfreeze.phase", "Phase"),
  custody = ProtoField.uint32("tcpfreeze.custody", "Bytes in custody"),
  reason = ProtoField.string("tcpfreeze.reason", "Reason"),
  words = ProtoField.string("tcpfreeze.words", "In words"),
}
local order = { "fate", "action", "flow", "phase", "custody", "reason" }

tcpfreeze.fields = {
  fields.fate, fields.action, fields.flow, fields.phase, fields.custody, fields.reason, fields.words,
}

local frame_comment = Field.new("frame.comment")

function tcpfreeze.dissector(buffer, pinfo, tree)
  for _, comment in ipairs({ frame_comment() }) do
    local words, machine = tostring(comment.value):match("^(.*) %[tcpfreeze (.-)%]$")
    if machine then
      local values = {}
      -- Values are bare words, or quoted when they may contain blanks.
      for key, value in machine:gmatch('(%w+)=([^%s"]+)') do values[key] = value end
      for key, value in machine:gmatch('(%w+)="([^"]*)"') do values[key] = value end
      local branch = tree:add(tcpfreeze, buffer(0, 0))
      branch:append_text(" (" .. (values.action or "?") .. ")")
      for _, key in ipairs(order) do
        local value = values[key]
        if key == "custody" then value = tonumber(value) end
        if value then branch:add(fields[key], value):set_generated() end
      end
      branch:add(fields.words, words):set_generated()
    end
  end
end

register_postdissector(tcpfreeze)
