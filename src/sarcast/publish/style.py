"""How the report looks and its one script: sorting a table by a click on its heading."""

CSS = """
:root{color-scheme:light dark;--bg:#f4f5f7;--card:#fff;--ink:#17202a;--soft:#5a6775;--line:#e1e5ea;
--accent:#0a63c2;--past:#0a63c21c;--limit:#c62f2f;--brighter:#b65c00;--darker:#0a66c2;--texture:#a0279b;
--ok:#1b7f4b;--warn:#a35b00;--p0:#0a66c2;--p1:#c25a00;--p2:#12805c;--p3:#8b3fb0;--p4:#b3261e;--p5:#58616b}
@media(prefers-color-scheme:dark){:root{--bg:#0f1317;--card:#171d23;--ink:#e8edf2;--soft:#98a5b3;--line:#2a333d;
--accent:#6db3ff;--past:#6db3ff24;--limit:#ff7b72;--brighter:#ffb454;--darker:#6db3ff;--texture:#f08be8;
--ok:#5ad199;--warn:#ffb454;--p0:#6db3ff;--p1:#ffb454;--p2:#5ad199;--p3:#d2a8ff;--p4:#ff7b72;--p5:#a8b3bf}}
*{box-sizing:border-box}html{scroll-behavior:smooth}
body{margin:0;background:var(--bg);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1240px;margin:0 auto;padding:36px 24px 64px}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 6px;letter-spacing:-.015em;overflow-wrap:anywhere}
h2{font-size:1.35rem;margin:0;letter-spacing:-.01em;overflow-wrap:anywhere}
h3{font-size:1rem;margin:28px 0 10px}h4{font-size:.98rem;margin:0}
p{margin:0 0 12px}a{color:var(--accent)}.lead{font-size:1.12rem;max-width:62em}.soft{color:var(--soft)}
.small{font-size:.86rem}.d{white-space:nowrap}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:22px 0}
.tile{padding:14px 16px}
.tile b{display:block;font-size:1.65rem;line-height:1.2;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:.86rem}
section.stack{margin-top:28px;padding:22px 24px 26px}
.facts{display:flex;flex-wrap:wrap;gap:4px 18px;margin:6px 0 0;color:var(--soft);font-size:.9rem}
.over{display:grid;grid-template-columns:minmax(0,10fr) minmax(0,21fr);gap:18px;align-items:start}
figure{margin:0}figcaption{color:var(--soft);font-size:.84rem;margin-top:6px;line-height:1.4}
.pic{position:relative;border-radius:8px;overflow:hidden;background:#23282e;line-height:0}
.pic img{width:100%;display:block;image-rendering:pixelated}
.pic svg{position:absolute;inset:0;width:100%;height:100%}
.outline{fill:#0000;stroke-width:2;vector-effect:non-scaling-stroke;stroke-linejoin:round}
.map .outline{fill-opacity:.16}
.outline.brighter{stroke:#ffb338;fill:#ffb338}.outline.darker{stroke:#58b6ff;fill:#58b6ff}
.outline.texture{stroke:#ff86ef;fill:#ff86ef}.chip .outline{fill:none;stroke-width:1.6}
.name{font-weight:700;paint-order:stroke;stroke:#0d1117;stroke-width:.28em;stroke-linejoin:round}
.name.brighter{fill:#ffc45e}.name.darker{fill:#8cccff}.name.texture{fill:#ffa8f4}
.bar{stroke:#fff;stroke-width:3;vector-effect:non-scaling-stroke}
.bar-text{fill:#fff;paint-order:stroke;stroke:#0d1117;stroke-width:.22em}
.scroll{overflow:auto;max-height:520px;border:1px solid var(--line);border-radius:8px}
table{border-collapse:collapse;width:100%;font-size:.84rem;font-variant-numeric:tabular-nums}
th,td{padding:6px 7px;text-align:left;white-space:nowrap;border-bottom:1px solid var(--line)}
tr:last-child td{border-bottom:0}thead th{position:sticky;top:0;background:var(--card);color:var(--soft);
font-weight:600;box-shadow:inset 0 -1px var(--line)}
th button{all:unset;cursor:pointer}th button:focus-visible{outline:2px solid var(--accent);border-radius:3px}
th button:hover{color:var(--accent)}th[aria-sort=ascending] button::after{content:"\\2191"}
th[aria-sort=descending] button::after{content:"\\2193"}
td.n,th.n{text-align:right}
.tag{display:inline-block;padding:1px 8px;border-radius:99px;font-size:.8rem;font-weight:600;border:1px solid}
.tag.brighter{color:var(--brighter)}.tag.darker{color:var(--darker)}.tag.texture{color:var(--texture)}
.tag.status{color:var(--soft);font-weight:500}.tag.confirmed{color:var(--ok)}
.events{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));gap:18px}
.event{padding:14px 16px 12px;scroll-margin-top:12px}.event:target{outline:2px solid var(--accent)}
.event header{display:flex;flex-wrap:wrap;gap:6px 8px;align-items:center;margin-bottom:10px}
.chips{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:8px}
.chips figcaption{font-size:.76rem;margin-top:4px}.band{position:absolute;left:6px;top:6px;line-height:1;
font-size:.72rem;font-weight:700;color:#fff;background:#0d1117b8;padding:3px 5px;border-radius:4px}
svg.series,svg.calendar{display:block;width:100%;height:auto;margin-top:10px}
.calendar-box{overflow-x:auto}.calendar-box svg{min-width:680px}
svg text{font-family:inherit}svg.series text,svg.calendar text{fill:var(--soft);font-size:11px}
svg.calendar .row{font-size:14px;fill:var(--ink)}
svg.calendar .tick{font-size:12px}
.grid{stroke:var(--line)}.axis{stroke:var(--soft);stroke-opacity:.6}.past{fill:var(--past)}
svg.series .past-text{fill:var(--accent);opacity:.75}.curve{fill:none;stroke:var(--soft);stroke-width:1.3}
.dot{fill:var(--ink)}.dot.over{fill:var(--limit)}.dot.off{fill:var(--card);stroke:var(--soft);stroke-width:1.3}
.limit{stroke:var(--limit);stroke-dasharray:5 4}svg.series .limit-text{fill:var(--limit)}
.event-line{stroke:var(--accent);stroke-dasharray:2 3}
svg.series .event-text{fill:var(--accent);font-weight:600}
.p0{fill:var(--p0)}.p1{fill:var(--p1)}.p2{fill:var(--p2)}
.p3{fill:var(--p3)}
.p4{fill:var(--p4)}.p5{fill:var(--p5)}
.mark.off{fill-opacity:.35}.ring{fill:none;stroke:var(--warn);stroke-width:2}
.cross{stroke:var(--limit);stroke-width:2}.key{display:flex;flex-wrap:wrap;gap:4px 16px;align-items:center}
.key svg{width:18px;height:18px;vertical-align:-4px}
ul.notes{margin:8px 0 0;padding-left:20px}ul.notes li{margin:3px 0}
details{margin-top:14px;border:1px solid var(--line);border-radius:10px;background:var(--card);padding:0 16px}
summary{cursor:pointer;padding:10px 0;font-weight:600}details>:last-child{margin-bottom:14px}
dl{display:grid;grid-template-columns:minmax(8em,auto) 1fr;gap:3px 16px;margin:6px 0 14px;font-size:.88rem}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.empty{padding:26px;text-align:center;color:var(--soft);border:1px dashed var(--line);border-radius:10px}
footer{margin-top:30px;color:var(--soft);font-size:.86rem}
@media(max-width:820px){.over{grid-template-columns:minmax(0,1fr)}main{padding:22px 14px 48px}
section.stack{padding:16px 14px 20px}h1{font-size:1.5rem}.tile b{font-size:1.35rem}
.tiles{grid-template-columns:repeat(2,minmax(0,1fr))}.tile:last-child:nth-child(odd){grid-column:span 2}
th,td{padding:6px 8px}.event{padding:12px}}
@media print{body{background:#fff}.scroll{max-height:none;overflow:visible}.event{break-inside:avoid}}
"""

SCRIPT = """
document.querySelectorAll("th button").forEach(function(button){
  button.addEventListener("click",function(){
    var th=button.closest("th"),body=th.closest("table").tBodies[0];
    var at=Array.prototype.indexOf.call(th.parentNode.children,th);
    var up=th.getAttribute("aria-sort")!=="ascending";
    th.parentNode.querySelectorAll("th").forEach(function(one){one.removeAttribute("aria-sort")});
    th.setAttribute("aria-sort",up?"ascending":"descending");
    Array.from(body.rows).sort(function(a,b){
      var p=a.cells[at].dataset.v,q=b.cells[at].dataset.v,n=p-q;
      return (up?1:-1)*(isNaN(n)?(p<q?-1:p>q?1:0):n);
    }).forEach(function(row){body.appendChild(row)});
  });
});
"""
