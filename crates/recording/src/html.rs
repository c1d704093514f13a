pub fn render(_set: &crate::Set, out: &mut dyn std::io::Write) -> std::io::Result<()> { writeln!(out, "</html>") }
