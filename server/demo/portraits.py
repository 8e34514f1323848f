"""Portraits of the demo users: drawn as SVG from the id alone, so that no file and no other server is needed."""

from hashlib import sha256

from server.demo.users import DemoUser

SIZE = 200  # of the square, in units of the drawing


def portrait_path(user: DemoUser) -> str:
    """Return the path at which the user's portrait is served."""
    return f"/demo/portraits/{user.user_id}.svg"


def portrait_of(user: DemoUser) -> str:
    """Return a head and shoulders in three colours as SVG; hue, hair and the tilt of the head come from the id."""
    chance = sha256(user.user_id.bytes).digest()
    hue, tilt, hair = chance[0] * 360 // 256, chance[1] % 13 - 6, 58 + chance[2] % 14
    skin = f"hsl({18 + chance[3] % 20} 48% {52 + chance[4] % 28}%)"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}" role="img" aria-label="{user.name}">'
        f'<rect width="{SIZE}" height="{SIZE}" fill="hsl({hue} 45% 78%)"/>'
        f'<path d="M20 200c0-50 36-68 80-68s80 18 80 68z" fill="hsl({(hue + 150) % 360} 42% 42%)"/>'
        f'<g transform="rotate({tilt} 100 110)">'
        f'<circle cx="100" cy="84" r="{hair}" fill="hsl({(hue + 40) % 360} 30% 22%)"/>'
        f'<rect x="84" y="118" width="32" height="34" rx="14" fill="{skin}"/>'
        f'<ellipse cx="100" cy="96" rx="40" ry="46" fill="{skin}"/>'
        '<circle cx="85" cy="94" r="4.5" fill="#222"/><circle cx="115" cy="94" r="4.5" fill="#222"/>'
        '<path d="M84 114c8 9 24 9 32 0" fill="none" stroke="#222" stroke-width="4" stroke-linecap="round"/>'
        "</g></svg>"
    )
